#include "tracing/events.h"

#include "bindings/state.h"
#include "tracing/recorder.h"
#include "cpython/type_versions.h"

/* Of a thread that is no worker's: its row, and the nanoseconds that it took to write the call that it will put next. */
static _Thread_local owngil_trace_slot thread_row;
static _Thread_local int64_t writing;

static bool
row_of_worker(owngil_worker *worker, uint32_t *row)
{
    return owngil_trace_get(&worker->doing.row, row)
           || owngil_trace_add_row(&worker->doing.row, worker->name, true, worker->number, row);
}

/* The row of the calling thread; false if no recording is on. Leaves an exception that is set alone. */
static bool
row_of_thread(uint32_t *row)
{
    owngil_worker *worker = owngil_interp_current();
    if (worker != NULL) {
        return row_of_worker(worker, row);
    }
    if (owngil_trace_get(&thread_row, row)) {
        return true;
    }
    PyObject *error = PyErr_GetRaisedException();
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *thread = threading != NULL ? PyObject_CallMethod(threading, "current_thread", NULL) : NULL;
    PyObject *name = thread != NULL ? PyObject_GetAttrString(thread, "name") : NULL;
    const char *text = name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    bool known = owngil_trace_add_row(&thread_row, text != NULL ? text : "a thread", false, 0, row);
    PyErr_Clear();
    Py_XDECREF(name);
    Py_XDECREF(thread);
    Py_XDECREF(threading);
    PyErr_SetRaisedException(error);
    return known;
}

void
owngil_observe_send(owngil_queue *queue, owngil_message *task)
{
    task->sent_at = owngil_tally_now();
    task->sent_to = queue->number;
    if (writing != 0) {
        atomic_fetch_add_explicit(&queue->spent, writing, memory_order_relaxed);
    }
    owngil_event event = {.kind = OWNGIL_EVENT_SEND, .queue = queue->number, .task = task->id};
    unsigned session = owngil_trace_current();
    if (session != 0 && row_of_thread(&event.row)) {
        event.times[0] = task->sent_at - writing;
        event.times[1] = task->sent_at;
        event.bytes_in = owngil_message_bytes(task);
        owngil_trace_add(&event, session);
    }
    writing = 0;
}

void
owngil_observe_cancel(const owngil_message *task)
{
    owngil_event event = {.kind = OWNGIL_EVENT_CANCEL, .queue = task->sent_to, .task = task->id};
    unsigned session = owngil_trace_current();
    if (session != 0 && row_of_thread(&event.row)) {
        event.times[0] = task->sent_at;
        event.times[1] = owngil_tally_now();
        owngil_trace_add(&event, session);
    }
}

void
owngil_observe_receive(owngil_queue *replies, uint64_t task, int64_t since)
{
    int64_t now = owngil_tally_now();
    atomic_fetch_add_explicit(&replies->spent, now - since, memory_order_relaxed);
    owngil_event event = {.kind = OWNGIL_EVENT_RECEIVE, .task = task, .times = {since, now}};
    unsigned session = owngil_trace_current();
    if (session != 0 && row_of_thread(&event.row)) {
        owngil_trace_add(&event, session);
    }
}

void
owngil_observe_wait(owngil_worker *worker)
{
    if (atomic_load_explicit(&worker->tally.phase, memory_order_relaxed) != OWNGIL_PHASE_START) {
        return;
    }
    int64_t now = owngil_tally_turn(&worker->tally, OWNGIL_PHASE_IDLE);
    owngil_event event = {.kind = OWNGIL_EVENT_START, .queue = worker->tasks->number};
    unsigned session = owngil_trace_current();
    if (session != 0 && row_of_worker(worker, &event.row)) {
        event.times[0] = now - owngil_tally_read(&worker->tally).spent[OWNGIL_PHASE_START];
        event.times[1] = now;
        owngil_trace_add(&event, session);
    }
}

static void
set_time(owngil_worker *worker, int k, int64_t time)
{
    atomic_store_explicit(&worker->doing.times[k], time, memory_order_relaxed);
}

void
owngil_observe_take(owngil_worker *worker, const owngil_message *task)
{
    int64_t bytes = owngil_message_bytes(task);
    worker->calls = 1;
    worker->failed = -1;
    set_time(worker, 0, task->sent_at);
    set_time(worker, 1, owngil_tally_take(&worker->tally, task->sent_at, bytes));
    set_time(worker, 2, 0);
    set_time(worker, 3, 0);
    atomic_store_explicit(&worker->doing.bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&worker->doing.task, task->id, memory_order_release);
}

/* The event of the task that the worker is doing; false if there is none. Needs no GIL, of any thread. */
static bool
event_of_task(owngil_worker *worker, owngil_event *event)
{
    *event = (owngil_event){.kind = OWNGIL_EVENT_TASK, .queue = worker->tasks->number};
    event->task = atomic_load_explicit(&worker->doing.task, memory_order_acquire);
    for (int k = 0; k < 4; k++) {
        event->times[k] = atomic_load_explicit(&worker->doing.times[k], memory_order_relaxed);
    }
    event->bytes_in = atomic_load_explicit(&worker->doing.bytes, memory_order_relaxed);
    if (!owngil_trace_get(&worker->doing.name, &event->name)) {
        event->name = UINT32_MAX; /* it began before the recording, or has not yet */
    }
    return event->task != 0 && row_of_worker(worker, &event->row);
}

void
owngil_observe_answer(owngil_worker *worker, const owngil_message *answer, bool failed)
{
    int64_t failures = worker->failed >= 0 ? worker->failed : failed;
    int64_t bytes = owngil_message_bytes(answer);
    int64_t now = owngil_tally_answer(&worker->tally, worker->calls, failures, bytes);
    owngil_event event;
    unsigned session = owngil_trace_current();
    if (session != 0 && event_of_task(worker, &event)) {
        event.times[4] = now;
        event.bytes_out = bytes;
        event.calls = worker->calls;
        event.failed = (uint32_t)failures;
        owngil_trace_add(&event, session);
    }
    atomic_store_explicit(&worker->doing.name, 0, memory_order_relaxed);
    atomic_store_explicit(&worker->doing.task, 0, memory_order_relaxed);
}

void
owngil_observe_end(owngil_worker *worker, int64_t since)
{
    owngil_event event = {.kind = OWNGIL_EVENT_END, .times = {since, owngil_tally_now()}};
    unsigned session = owngil_trace_current();
    if (session != 0 && row_of_worker(worker, &event.row)) {
        owngil_trace_add(&event, session);
    }
}

PyObject *
owngil_worker_tally(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_worker *worker = (owngil_worker *)((owngil_wrapper *)self)->shared;
    owngil_tally_copy copy = owngil_tally_read(&worker->tally);
    const int64_t *spent = copy.spent;
    return Py_BuildValue("(i(LLLLLL)LLLLLL)", copy.phase, (long long)spent[0], (long long)spent[1], (long long)spent[2],
                         (long long)spent[3], (long long)spent[4], (long long)spent[5], (long long)copy.waited,
                         (long long)copy.tasks, (long long)copy.calls, (long long)copy.failed,
                         (long long)copy.bytes_in, (long long)copy.bytes_out);
}

PyDoc_STRVAR(note_writing_doc,
"note_writing(since, /)\n--\n\n"
"Note that this thread wrote a call, from then on, by time.monotonic_ns(): the queue of tasks that it goes into next counts it.");

static PyObject *
note_writing(PyObject *Py_UNUSED(module), PyObject *argument)
{
    long long since = PyLong_AsLongLong(argument);
    if (since == -1 && PyErr_Occurred()) {
        return NULL;
    }
    writing = owngil_tally_now() - since;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(call_doc,
"call(fn, args, kwargs, describe, /)\n--\n\n"
"Return fn(*args, **kwargs): what a worker's task is for, and counts as its work. A recording calls it describe(fn, args).");

/* Lets the recording know what the worker is about to call. Returns 0, or -1 with the exception that came in between, like an
 * interrupt; what is wrong with the name itself is none. */
static int
note_name(owngil_worker *worker, PyObject *fn, PyObject *args, PyObject *describe)
{
    uint32_t number;
    PyObject *name = PyObject_CallFunctionObjArgs(describe, fn, args, NULL);
    const char *text = name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    (void)owngil_trace_add_name(&worker->doing.name, text != NULL ? text : "a callable", &number);
    Py_XDECREF(name);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

static PyObject *
call(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    if (count != 4 || !PyTuple_Check(args[1]) || !PyDict_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "call() takes a callable, a tuple, a dict and a callable");
        return NULL;
    }
    if (owngil_trace_current() != 0 && note_name(worker, args[0], args[1], args[3]) < 0) {
        return NULL;
    }
    /* The call has been read, which imports what it comes from. */
    owngil_state *state = PyModule_GetState(module);
    if (owngil_type_versions_complete(&state->versioned) < 0) {
        return NULL;
    }
    set_time(worker, 2, owngil_tally_turn(&worker->tally, OWNGIL_PHASE_RUN));
    PyObject *result = PyObject_Call(args[0], args[1], args[2]);
    set_time(worker, 3, owngil_tally_turn(&worker->tally, OWNGIL_PHASE_WRITE));
    return result;
}

PyDoc_STRVAR(count_calls_doc,
"count_calls(calls, failed, /)\n--\n\n"
"Note how many calls the task that is running has made, and how many of them failed; without this, it counts as one.");

static PyObject *
count_calls(PyObject *Py_UNUSED(module), PyObject *args)
{
    owngil_worker *worker = owngil_worker_require_current();
    long long calls, failed;
    if (worker == NULL || !PyArg_ParseTuple(args, "LL:count_calls", &calls, &failed)) {
        return NULL;
    }
    worker->calls = calls;
    worker->failed = failed;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(trace_start_doc,
"trace_start()\n--\n\n"
"Record what workers do from now on; return False if that is being done already.");

static PyObject *
trace_start(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(owngil_trace_start());
}

static void
add_unfinished(owngil_worker *worker)
{
    owngil_event event;
    unsigned session = owngil_trace_current();
    if (event_of_task(worker, &event)) {
        owngil_trace_add(&event, session);
    }
}

static PyObject *
pack_events(const owngil_trace_data *data)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(data->count * sizeof(owngil_event)));
    char *at = bytes != NULL ? PyBytes_AS_STRING(bytes) : NULL;
    for (const owngil_trace_chunk *chunk = data->first; at != NULL && chunk != NULL; chunk = chunk->next) {
        size_t size = chunk->count * sizeof(owngil_event);
        memcpy(at, chunk->events, size);
        at += size;
    }
    return bytes;
}

static PyObject *
list_rows(const owngil_trace_data *data)
{
    PyObject *list = PyList_New(0);
    for (size_t k = 0; list != NULL && k < data->row_count; k++) {
        const owngil_trace_thread *row = &data->rows[k];
        PyObject *item = Py_BuildValue("(sOK)", row->name, row->is_worker ? Py_True : Py_False,
                                       (unsigned long long)row->number);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *
list_names(const owngil_trace_data *data)
{
    PyObject *list = PyList_New(0);
    for (size_t k = 0; list != NULL && k < data->name_count; k++) {
        PyObject *item = PyUnicode_FromString(data->names[k]);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

PyDoc_STRVAR(trace_stop_doc,
"trace_stop()\n--\n\n"
"End the recording and return (events, rows, names, dropped), or None if there is none.");

static PyObject *
trace_stop(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_trace_data data = {0};
    if (owngil_trace_current() != 0) {
        owngil_interp_visit_living(add_unfinished);
    }
    if (!owngil_trace_stop(&data)) {
        Py_RETURN_NONE;
    }
    PyObject *events = pack_events(&data);
    PyObject *rows = events != NULL ? list_rows(&data) : NULL;
    PyObject *names = rows != NULL ? list_names(&data) : NULL;
    PyObject *result =
        names != NULL ? Py_BuildValue("(OOOn)", events, rows, names, (Py_ssize_t)data.dropped) : NULL;
    Py_XDECREF(names);
    Py_XDECREF(rows);
    Py_XDECREF(events);
    owngil_trace_free(&data);
    return result;
}

PyDoc_STRVAR(trace_forget_doc,
"trace_forget()\n--\n\n"
"Drop a recording that came along into a forked process.");

static PyObject *
trace_forget(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_trace_forget();
    Py_RETURN_NONE;
}

PyMethodDef owngil_observe_functions[] = {
    {"trace_start", trace_start, METH_NOARGS, trace_start_doc},
    {"trace_stop", trace_stop, METH_NOARGS, trace_stop_doc},
    {"trace_forget", trace_forget, METH_NOARGS, trace_forget_doc},
    {"note_writing", note_writing, METH_O, note_writing_doc},
    {"call", (PyCFunction)(void (*)(void))call, METH_FASTCALL, call_doc},
    {"count_calls", count_calls, METH_VARARGS, count_calls_doc},
    {NULL, NULL, 0, NULL},
};
