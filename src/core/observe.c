/* What Python code may know of a worker's work, and the call of a task's function that tells when it runs. */
#include "interp.h"
#include "module.h"

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

/* The worker that calls, or NULL with RuntimeError set. */
static owngil_worker *
require_current(void)
{
    owngil_worker *worker = owngil_interp_current();
    if (worker == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this thread is not a worker's own");
    }
    return worker;
}

/* Nanoseconds that this thread took to write the call that it will put next. */
static _Thread_local int64_t writing;

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

void
owngil_observe_send(owngil_queue *queue, owngil_message *task)
{
    task->sent_at = owngil_tally_now();
    if (writing != 0) {
        atomic_fetch_add_explicit(&queue->spent, writing, memory_order_relaxed);
        writing = 0;
    }
}

PyDoc_STRVAR(call_doc,
"call(fn, args, kwargs, /)\n--\n\n"
"Return fn(*args, **kwargs): what a worker's task is for, and counts as its work.");

static PyObject *
call(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    owngil_worker *worker = require_current();
    if (worker == NULL) {
        return NULL;
    }
    if (count != 3 || !PyTuple_Check(args[1]) || !PyDict_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "call() takes a callable, a tuple and a dict");
        return NULL;
    }
    (void)owngil_tally_turn(&worker->tally, OWNGIL_PHASE_RUN);
    PyObject *result = PyObject_Call(args[0], args[1], args[2]);
    (void)owngil_tally_turn(&worker->tally, OWNGIL_PHASE_WRITE);
    return result;
}

PyDoc_STRVAR(count_calls_doc,
"count_calls(calls, failed, /)\n--\n\n"
"Note how many calls the task that is running has made, and how many of them failed; without this, it counts as one.");

static PyObject *
count_calls(PyObject *Py_UNUSED(module), PyObject *args)
{
    owngil_worker *worker = require_current();
    long long calls, failed;
    if (worker == NULL || !PyArg_ParseTuple(args, "LL:count_calls", &calls, &failed)) {
        return NULL;
    }
    worker->calls = calls;
    worker->failed = failed;
    Py_RETURN_NONE;
}

PyMethodDef owngil_observe_functions[] = {
    {"note_writing", note_writing, METH_O, note_writing_doc},
    {"call", (PyCFunction)(void (*)(void))call, METH_FASTCALL, call_doc},
    {"count_calls", count_calls, METH_VARARGS, count_calls_doc},
    {NULL, NULL, 0, NULL},
};
