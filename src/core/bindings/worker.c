/* owngil._core.Worker: a worker seen from an interpreter, and the functions that workers call about themselves. */
#include "cpython/keyword_parsers.h"
#include "cpython/immortal_refcounts.h"
#include "workers/worker.h"
#include "memory/lease.h"
#include "bindings/state.h"
#include "tracing/events.h"
#include "base/process_notes.h"
#include "workers/interrupts.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static owngil_worker *
worker_of(PyObject *self)
{
    return (owngil_worker *)((owngil_wrapper *)self)->shared;
}

/* The result of a method that returned an errno, or 0. */
static PyObject *
none_or_error(int error)
{
    if (error != 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

/* Id of the task that the worker is running; 0 for none, also while it starts. */
static uint64_t
running_task(owngil_worker *worker)
{
    uint64_t task = atomic_load(&worker->task);
    return task == OWNGIL_TASK_START ? 0 : task;
}

PyDoc_STRVAR(interrupt_doc,
"interrupt(task=0, grace=0.0, /)\n--\n\n"
"Raise KeyboardInterrupt in the task that the worker is running, if any, or in that one only; return before it arrives there.\n\n"
"After `grace` seconds, if that is not 0, a STUCK tells if the task is still running.");

static PyObject *
worker_interrupt(PyObject *self, PyObject *args)
{
    owngil_worker *worker = worker_of(self);
    unsigned long long task = 0;
    double grace = 0.0;
    if (!PyArg_ParseTuple(args, "|Kd:interrupt", &task, &grace)) {
        return NULL;
    }
    uint64_t current = running_task(worker);
    return none_or_error(task == 0 || task == current ? owngil_stopping_interrupt(worker, current, grace) : 0);
}

PyDoc_STRVAR(stop_doc,
"stop(grace=0.0, /)\n--\n\n"
"Interrupt the task that the worker is running, or its start, and every one that it begins from now on; see interrupt().");

static PyObject *
worker_stop(PyObject *self, PyObject *args)
{
    double grace = 0.0;
    if (!PyArg_ParseTuple(args, "|d:stop", &grace)) {
        return NULL;
    }
    return none_or_error(owngil_stopping_stop(worker_of(self), grace));
}

PyDoc_STRVAR(join_doc,
"join()\n--\n\n"
"Wait for the worker's thread, which is gone soon after its EXITED.");

static PyObject *
worker_join(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_interp_join(worker_of(self));
    Py_RETURN_NONE;
}

static PyObject *
worker_get_interpreter_id(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(atomic_load(&worker_of(self)->interpreter_id));
}

static PyObject *
worker_get_task(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(running_task(worker_of(self)));
}

PyDoc_STRVAR(tally_doc,
"tally()\n--\n\n"
"Return (phase, spent, waited, tasks, calls, failed, bytes_in, bytes_out) up to this moment; `spent` are\n"
"the nanoseconds of each phase: starting, idle, reading, running, writing, ending.");

static PyMethodDef worker_methods[] = {
    {"interrupt", worker_interrupt, METH_VARARGS, interrupt_doc},
    {"stop", worker_stop, METH_VARARGS, stop_doc},
    {"tally", owngil_worker_tally, METH_NOARGS, tally_doc},
    {"join", worker_join, METH_NOARGS, join_doc},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef worker_getset[] = {
    {"interpreter_id", worker_get_interpreter_id, NULL, "CPython's number of the interpreter; -1 before it is made.",
     NULL},
    {"task", worker_get_task, NULL, "Id of the task that is running; 0 for none.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot worker_slots[] = {
    {Py_tp_doc, (void *)"An OS thread with an interpreter and a GIL of its own."},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, worker_methods},
    {Py_tp_getset, worker_getset},
    {0, NULL},
};

PyType_Spec owngil_worker_spec = {
    .name = "owngil._core.Worker",
    .basicsize = sizeof(owngil_wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = worker_slots,
};

PyDoc_STRVAR(start_worker_doc,
"start_worker(name, number, bootstrap, setup, tasks, replies, workers)\n--\n\n"
"Start a thread that makes an interpreter, runs the source `bootstrap` in it, and ends it.\n\n"
"`setup` is a tuple of blocks and queues for the worker. What becomes of it is put into `replies` with the id\n"
"`number`, last of all EXITED or KEPT. The dict `workers` has the Worker by its number before a signal's handler can run.");

static PyObject *
start_worker(PyObject *module, PyObject *args)
{
    owngil_state *state = PyModule_GetState(module);
    const char *name, *bootstrap;
    unsigned long long number;
    PyObject *parts, *tasks, *replies, *workers;
    if (!PyArg_ParseTuple(args, "sKsOO!O!O!:start_worker", &name, &number, &bootstrap, &parts, state->queue_type, &tasks,
                          state->queue_type, &replies, &PyDict_Type, &workers)) {
        return NULL;
    }
    if (owngil_compat_tracemalloc_hangs()) {
        PyErr_Format(PyExc_RuntimeError,
                     "worker '%s' cannot be started while tracemalloc is tracing: before Python 3.15, making an interpreter"
                     " then waits for ever. Call tracemalloc.stop() first, or start tracing when the workers are there.",
                     name);
        return NULL;
    }
    owngil_message *setup = owngil_message_from_parts(state, 0, 0, parts);
    if (setup == NULL) {
        return NULL;
    }
    int error = 0;
    owngil_worker *worker =
        owngil_interp_start(name, (uint64_t)number, bootstrap, setup, (owngil_queue *)((owngil_wrapper *)tasks)->shared,
                            (owngil_queue *)((owngil_wrapper *)replies)->shared, &error);
    owngil_shared_release(&setup->base);
    if (worker == NULL) {
        PyErr_Format(PyExc_RuntimeError, "no thread can be started for worker '%s': %s", name, strerror(error));
        return NULL;
    }
    /* Here, as a signal's handler may run as soon as this has returned: then nobody would know the worker. */
    PyObject *wrapper = owngil_wrap(state->worker_type, &worker->base);
    int failed = wrapper == NULL || PyDict_SetItem(workers, PyTuple_GET_ITEM(args, 1), wrapper) < 0;
    Py_XDECREF(wrapper);
    return failed ? NULL : Py_NewRef(Py_None);
}

owngil_worker *
owngil_worker_require_current(void)
{
    owngil_worker *worker = owngil_interp_current();
    if (worker == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this thread is not a worker's own");
    }
    return worker;
}

PyDoc_STRVAR(worker_setup_doc,
"worker_setup()\n--\n\n"
"Return (name, number, setup, tasks, replies) as start_worker() had them; for the worker's own thread.");

static PyObject *
worker_setup(PyObject *module, PyObject *Py_UNUSED(unused))
{
    owngil_state *state = PyModule_GetState(module);
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    PyObject *parts = owngil_message_to_parts(state, worker->setup, false);
    if (parts == NULL) {
        return NULL;
    }
    owngil_shared_acquire(&worker->tasks->base);
    PyObject *tasks = owngil_wrap(state->queue_type, &worker->tasks->base);
    owngil_shared_acquire(&worker->replies->base);
    PyObject *replies = owngil_wrap(state->queue_type, &worker->replies->base);
    return Py_BuildValue("sKNNN", worker->name, (unsigned long long)worker->number, parts, tasks, replies);
}

PyDoc_STRVAR(take_task_doc,
"take_task()\n--\n\n"
"Wait for the next task of this worker and return (id, parts); QueueClosed when there will be none, or an END came.");

static PyObject *
take_task(PyObject *module, PyObject *Py_UNUSED(unused))
{
    owngil_state *state = PyModule_GetState(module);
    owngil_worker *worker = owngil_worker_require_current();
    owngil_message *message = NULL;
    if (worker == NULL) {
        return NULL;
    }
    owngil_observe_wait(worker);
    if (owngil_queue_wait(worker->tasks, worker->number + 1, &message, &owngil_deadline_never, state->queue_closed) < 0) {
        return NULL;
    }
    if (message->kind == OWNGIL_TASK_END) {
        owngil_shared_release(&message->base);
        return owngil_errors_raise(OWNGIL_CLOSED, state->queue_closed);
    }
    PyObject *parts = owngil_message_to_parts(state, message, false);
    PyObject *result = parts == NULL ? NULL : Py_BuildValue("KN", (unsigned long long)message->id, parts);
    if (result == NULL) { /* no memory: it must not be lost */
        owngil_queue_put_back(worker->tasks, message);
        return NULL;
    }
    owngil_observe_take(worker, message);
    owngil_message_clear(message);
    if (worker->request != NULL) {
        owngil_shared_release(&worker->request->base);
    }
    worker->request = message;
    return result;
}

PyDoc_STRVAR(answer_doc,
"answer(kind, parts, /)\n--\n\n"
"Send back what became of the task that take_task() returned last.");

static PyObject *
answer(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    owngil_state *state = PyModule_GetState(module);
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    if (count != 2 || worker->request == NULL) {
        PyErr_SetString(count != 2 ? PyExc_TypeError : PyExc_RuntimeError,
                        count != 2 ? "answer() takes a kind and parts" : "there is no task to answer");
        return NULL;
    }
    int kind = PyLong_AsInt(args[0]);
    if (kind == -1 && PyErr_Occurred()) {
        return NULL;
    }
    owngil_message *message = owngil_message_from_parts(state, kind, worker->request->id, args[1]);
    if (message == NULL) {
        return NULL;
    }
    owngil_observe_answer(worker, message, kind != OWNGIL_REPLY_RESULT);
    owngil_code code = owngil_queue_answer(worker->replies, worker->request, message);
    owngil_shared_release(&message->base);
    owngil_shared_release(&worker->request->base);
    worker->request = NULL;
    if (code != OWNGIL_OK) {
        return owngil_errors_raise(code, state->queue_closed);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(run_task_doc,
"run_task(id, fn, /, *args)\n--\n\n"
"Call fn(*args) as the task `id` (not 0) of this worker: only in there can Worker.interrupt() and stop() hit.\n\n"
"With the id START it is what comes before the first task, which only stop() hits.");

static PyObject *
run_task(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    if (count < 2) {
        PyErr_SetString(PyExc_TypeError, "run_task() needs an id and a callable");
        return NULL;
    }
    unsigned long long id = PyLong_AsUnsignedLongLong(args[0]);
    if (id == (unsigned long long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    atomic_store(&worker->task, id);
    PyObject *result = NULL;
    if (atomic_load(&worker->stopped) || (worker->request != NULL && atomic_load(&worker->request->unwanted))) {
        PyErr_SetNone(PyExc_KeyboardInterrupt);
    }
    else {
        result = PyObject_Vectorcall(args[1], args + 2, (size_t)count - 2, NULL);
    }
    atomic_store(&worker->task, 0);
    /* An interrupt that arrived too late to be raised in there is raised nowhere. This cannot change `result`: when
     * an exception is set, the call below leaves it alone. */
    PyThreadState_SetAsyncExc(worker->ident, NULL);
    return result;
}

PyDoc_STRVAR(current_task_doc,
"current_task()\n--\n\n"
"Return the id of the task that this worker runs, or is about to answer; 0 for none.");

static PyObject *
current_task(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_worker *worker = owngil_interp_of_thread();
    uint64_t task = worker == NULL ? 0 : running_task(worker);
    if (task == 0 && worker != NULL && worker == owngil_interp_current() && worker->request != NULL) {
        task = worker->request->id;
    }
    return PyLong_FromUnsignedLongLong(task);
}

PyDoc_STRVAR(before_end_doc,
"before_end()\n--\n\n"
"Prepare the end of a worker's interpreter, which waits for its other threads; for its atexit, first registered.");

static PyObject *
before_end(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    owngil_interp_before_end(worker);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(after_fork_doc,
"after_fork()\n--\n\n"
"Mend what the workers, which will never end in this forked child, would have mended at their end.");

static PyObject *
after_fork(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_argparsers_release();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(end_kept_workers_doc,
"end_kept_workers()\n--\n\n"
"End the workers that reported KEPT, and wait for them; for the main interpreter's exit.");

static PyObject *
end_kept_workers(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    Py_BEGIN_ALLOW_THREADS
    owngil_runtime_exit();
    owngil_lease_end();
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyDoc_STRVAR(die_of_sigint_doc,
"die_of_sigint()\n--\n\n"
"End the process as CPython does after a KeyboardInterrupt that nobody caught, at once.");

static PyObject *
die_of_sigint(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGINT);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    kill(getpid(), SIGINT);
    /* The end comes with the return of kill(), or a moment later under a debugger; but never to process 1 of a container, which
     * ignores what it has no handler for. Nothing else can be done then, as other threads still use the interpreter. */
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    _exit(128 + SIGINT);
}

PyDoc_STRVAR(in_worker_doc,
"in_worker()\n--\n\n"
"Whether this thread is a worker's own.");

static PyObject *
in_worker(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(owngil_interp_current() != NULL);
}

PyDoc_STRVAR(in_main_interpreter_doc,
"in_main_interpreter()\n--\n\n"
"Whether this is the process's first interpreter.");

static PyObject *
in_main_interpreter(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(PyInterpreterState_Get() == PyInterpreterState_Main());
}

PyDoc_STRVAR(protect_immortals_doc,
"protect_immortals()\n--\n\n"
"Protect the objects that all interpreters share from extension modules with an old stable ABI; see immortals.h.");

static PyObject *
protect_immortals(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    if (owngil_immortals_protect() < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(count_workers_doc,
"count_workers()\n--\n\n"
"How many workers have an interpreter at this moment.");

static PyObject *
count_workers(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyLong_FromSize_t(owngil_interp_count());
}

PyDoc_STRVAR(get_note_doc,
"get_note(name)\n--\n\n"
"The number that the process keeps under the name (bytes); 0 for none.");

static PyObject *
get_note(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    if (!PyArg_ParseTuple(args, "y:get_note", &name)) {
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(owngil_runtime_get_note(name));
}

PyDoc_STRVAR(set_note_doc,
"set_note(name, value)\n--\n\n"
"Let the process keep a number under the name (bytes), for all its interpreters.");

static PyObject *
set_note(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    unsigned long long value;
    if (!PyArg_ParseTuple(args, "yK:set_note", &name, &value)) {
        return NULL;
    }
    if (!owngil_runtime_set_note(name, value)) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(take_notes_doc,
"take_notes()\n--\n\n"
"Return all notes as a dict of bytes and ints; the process forgets them.");

static PyObject *
take_notes(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    PyObject *dict = PyDict_New();
    owngil_note *list = dict != NULL ? owngil_runtime_take_notes() : NULL;
    while (list != NULL) {
        owngil_note *note = list;
        list = note->next;
        PyObject *name = dict != NULL ? PyBytes_FromString(note->name) : NULL;
        PyObject *value = name != NULL ? PyLong_FromUnsignedLongLong(note->value) : NULL;
        if (dict != NULL && (value == NULL || PyDict_SetItem(dict, name, value) < 0)) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(name);
        Py_XDECREF(value);
        free(note);
    }
    return dict;
}

PyMethodDef owngil_worker_functions[] = {
    {"protect_immortals", protect_immortals, METH_NOARGS, protect_immortals_doc},
    {"count_workers", count_workers, METH_NOARGS, count_workers_doc},
    {"get_note", get_note, METH_VARARGS, get_note_doc},
    {"set_note", set_note, METH_VARARGS, set_note_doc},
    {"take_notes", take_notes, METH_NOARGS, take_notes_doc},
    {"start_worker", start_worker, METH_VARARGS, start_worker_doc},
    {"worker_setup", worker_setup, METH_NOARGS, worker_setup_doc},
    {"take_task", take_task, METH_NOARGS, take_task_doc},
    {"answer", (PyCFunction)(void (*)(void))answer, METH_FASTCALL, answer_doc},
    {"run_task", (PyCFunction)(void (*)(void))run_task, METH_FASTCALL, run_task_doc},
    {"current_task", current_task, METH_NOARGS, current_task_doc},
    {"before_end", before_end, METH_NOARGS, before_end_doc},
    {"after_fork", after_fork, METH_NOARGS, after_fork_doc},
    {"end_kept_workers", end_kept_workers, METH_NOARGS, end_kept_workers_doc},
    {"die_of_sigint", die_of_sigint, METH_NOARGS, die_of_sigint_doc},
    {"in_worker", in_worker, METH_NOARGS, in_worker_doc},
    {"in_main_interpreter", in_main_interpreter, METH_NOARGS, in_main_interpreter_doc},
    {NULL, NULL, 0, NULL},
};
