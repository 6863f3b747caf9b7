#include "stopping.h"

#include "block.h"
#include "module.h"

#include <stdlib.h>
#include <string.h>

/* How long the visitor that looks what a worker is doing may wait for the worker's GIL. */
#define PATIENCE 0.5

static owngil_worker *
worker_of_alarm(owngil_alarm *alarm)
{
    return (owngil_worker *)alarm->owner;
}

/* Whether the worker is in that task and in that call with a limit (0: in any, or none). Decides with the worker's GIL held. */
static bool
is_running(owngil_worker *worker, uint64_t task, uint64_t limit)
{
    return (task == 0 || atomic_load(&worker->task) == task) && (limit == 0 || atomic_load(&worker->limit) == limit);
}

typedef struct {
    owngil_worker *worker;
    PyInterpreterState *interp;
    uint64_t task, limit;
    bool looks; /* else it interrupts */
} visit;

/* Appends a line for the frame: file, number of the line, function, each with 0x1f behind it. Returns 0, or -1 with an
 * exception. Needs the GIL. */
static int
append_frame(PyObject *lines, PyFrameObject *frame)
{
    PyCodeObject *code = PyFrame_GetCode(frame);
    PyObject *file = PyObject_GetAttrString((PyObject *)code, "co_filename");
    PyObject *name = file != NULL ? PyObject_GetAttrString((PyObject *)code, "co_qualname") : NULL;
    PyObject *line =
        name != NULL ? PyUnicode_FromFormat("%S\x1f%d\x1f%S\n", file, PyFrame_GetLineNumber(frame), name) : NULL;
    int failed = line == NULL ? -1 : PyList_Append(lines, line);
    Py_XDECREF(line);
    Py_XDECREF(name);
    Py_XDECREF(file);
    Py_DECREF(code);
    return failed;
}

/* The stack of the worker's thread, innermost frame first, as UTF-8 bytes; or NULL with an exception. Runs no Python code.
 * Needs the worker's GIL: so that thread is in C code that has let go of it, and its frames stand still. */
static PyObject *
describe_stack(owngil_worker *worker, PyInterpreterState *interp)
{
    PyObject *lines = PyList_New(0);
    PyThreadState *at = PyInterpreterState_ThreadHead(interp);
    while (at != NULL && at->thread_id != worker->ident) {
        at = PyThreadState_Next(at);
    }
    PyFrameObject *frame = at != NULL && lines != NULL ? PyThreadState_GetFrame(at) : NULL;
    bool failed = lines == NULL;
    while (frame != NULL) {
        failed = failed || append_frame(lines, frame) < 0;
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    PyObject *empty = !failed ? PyUnicode_FromString("") : NULL;
    PyObject *text = empty != NULL ? PyUnicode_Join(empty, lines) : NULL;
    PyObject *bytes = text != NULL ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;
    Py_XDECREF(text);
    Py_XDECREF(empty);
    Py_XDECREF(lines);
    return bytes;
}

/* Says that the worker does not notice its interrupt, unless that was said: `stack` is NULL if it is not known. Needs no GIL. */
static void
report_stuck(owngil_worker *worker, uint64_t task, const char *stack, size_t size)
{
    if (atomic_exchange(&worker->reported, true)) {
        return;
    }
    int kind = task == OWNGIL_TASK_START ? OWNGIL_REPLY_STUCK_START : OWNGIL_REPLY_STUCK;
    owngil_message *message = owngil_message_new(kind, worker->number, 1);
    owngil_block *block = message != NULL ? owngil_block_new(size) : NULL;
    if (block != NULL) {
        if (size > 0) {
            memcpy(block->data, stack, size);
        }
        message->parts[0] = &block->base;
        (void)owngil_queue_put(worker->replies, message, &owngil_deadline_now);
    }
    if (message != NULL) {
        owngil_shared_release(&message->base);
    }
}

static void
look(owngil_worker *worker, uint64_t task, PyInterpreterState *interp)
{
    PyObject *stack = describe_stack(worker, interp);
    if (stack != NULL) {
        report_stuck(worker, task, PyBytes_AS_STRING(stack), (size_t)PyBytes_GET_SIZE(stack));
        Py_DECREF(stack);
    }
    PyErr_Clear();
}

/* Enters the worker's interpreter, as soon as its GIL can be had. */
static void *
visitor_main(void *argument)
{
    visit *this = argument;
    owngil_worker *worker = this->worker;
    PyThreadState *tstate = PyThreadState_New(this->interp);
    if (tstate != NULL) {
        PyEval_RestoreThread(tstate);
        /* The worker starts and ends tasks with its GIL held, so that this one cannot end in between. */
        bool in_time = is_running(worker, this->task, this->limit);
        if (in_time && this->looks) {
            look(worker, this->task, this->interp);
        }
        else if (in_time && !owngil_parking_interrupt(&worker->parking)) {
            PyThreadState_SetAsyncExc(worker->ident, PyExc_KeyboardInterrupt);
        }
        PyThreadState_Clear(tstate);
        PyThreadState_DeleteCurrent();
    }
    owngil_interp_leave(worker);
    owngil_shared_release(&worker->base);
    free(this);
    return NULL;
}

/* Starts a visit. Returns 0 or an errno. */
static int
send_visitor(const visit *what)
{
    owngil_worker *worker = what->worker;
    visit *argument = malloc(sizeof(*argument));
    if (argument == NULL) {
        return ENOMEM;
    }
    PyInterpreterState *interp = owngil_interp_enter(worker);
    if (interp == NULL) {
        free(argument);
        return 0;
    }
    *argument = *what;
    argument->interp = interp;
    owngil_shared_acquire(&worker->base);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    int error = pthread_create(&thread, &attributes, visitor_main, argument);
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        owngil_interp_leave(worker);
        owngil_shared_release(&worker->base);
        free(argument);
    }
    return error;
}

static int
interrupt(owngil_worker *worker, uint64_t task, uint64_t limit, double grace)
{
    int error = send_visitor(&(visit){.worker = worker, .task = task, .limit = limit});
    if (error == 0 && grace > 0) {
        atomic_store(&worker->doubtful_limit, limit);
        atomic_store(&worker->looked, false);
        atomic_store(&worker->reported, false);
        error = owngil_alarm_set(&worker->grace_alarm, grace, task);
    }
    return error;
}

int
owngil_stopping_interrupt(owngil_worker *worker, uint64_t task, double grace)
{
    return task != 0 ? interrupt(worker, task, 0, grace) : 0;
}

int
owngil_stopping_stop(owngil_worker *worker, double grace)
{
    /* run_task() sets `task` and then looks at `stopped`; here it is the other way round, so one of the two sees. */
    atomic_store(&worker->stopped, true);
    return owngil_stopping_interrupt(worker, atomic_load(&worker->task), grace);
}

void
owngil_stopping_ring_limit(owngil_alarm *alarm, uint64_t limit)
{
    owngil_worker *worker = worker_of_alarm(alarm);
    uint64_t task = atomic_load(&worker->task);
    /* Without memory or threads the call goes on: there is nobody to tell. */
    (void)interrupt(worker, task, limit, worker->limit_grace);
}

void
owngil_stopping_ring_grace(owngil_alarm *alarm, uint64_t task)
{
    owngil_worker *worker = worker_of_alarm(alarm);
    uint64_t limit = atomic_load(&worker->doubtful_limit);
    if (!is_running(worker, task, limit)) {
        return;
    }
    if (!atomic_exchange(&worker->looked, true)) {
        (void)send_visitor(&(visit){.worker = worker, .task = task, .limit = limit, .looks = true});
        (void)owngil_alarm_set(alarm, PATIENCE, task);
    }
    else {
        report_stuck(worker, task, NULL, 0);
    }
}
