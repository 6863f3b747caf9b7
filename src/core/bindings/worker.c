/* owngil._core.Worker: a worker seen from an interpreter, and its start. */
#include "bindings/worker.h"

#include "bindings/parts.h"
#include "workers/interrupts.h"
#include "workers/life.h"

#include <string.h>

owngil_worker *
owngil_worker_require_current(void)
{
    owngil_worker *worker = owngil_worker_current();
    if (worker == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this thread is not a worker's own");
    }
    return worker;
}

uint64_t
owngil_worker_running_task(owngil_worker *worker)
{
    uint64_t task = atomic_load(&worker->task);
    return task == OWNGIL_TASK_START ? 0 : task;
}

/* Returns None, or NULL with RuntimeError set if the error is not 0: the worker was not interrupted. */
static PyObject *
none_or_error(const owngil_worker *worker, int error)
{
    return error == 0 ? Py_NewRef(Py_None)
                      : PyErr_Format(PyExc_RuntimeError,
                                     "worker '%s' cannot be interrupted, because no thread can be started for that: %s."
                                     " Try again when the process or the system has fewer threads.",
                                     worker->name, strerror(error));
}

/* interrupt(task=0, grace=0.0, /): raise KeyboardInterrupt in the task that the worker is running, if any; or only in
 * the task with that id. Return before the interrupt arrives there. If the task still runs after `grace` seconds, a
 * STUCK reports it; 0: never. */
static PyObject *
worker_interrupt(PyObject *self, PyObject *args)
{
    owngil_worker *worker = OWNGIL_UNWRAP(owngil_worker, self);
    unsigned long long task = 0;
    double grace = 0.0;
    if (!PyArg_ParseTuple(args, "|Kd:interrupt", &task, &grace)) {
        return NULL;
    }
    if (owngil_refcount_is_inherited(&worker->base)) {
        Py_RETURN_NONE; /* this is a forked child, which does not have the worker's thread */
    }
    uint64_t current = owngil_worker_running_task(worker);
    return none_or_error(worker,
                         task == 0 || task == current ? owngil_interrupts_interrupt(worker, current, grace) : 0);
}

/* stop(grace=0.0, /): interrupt the task that the worker is running, or its start, and every task that it begins from
 * now on; see interrupt(). */
static PyObject *
worker_stop(PyObject *self, PyObject *args)
{
    owngil_worker *worker = OWNGIL_UNWRAP(owngil_worker, self);
    double grace = 0.0;
    if (!PyArg_ParseTuple(args, "|d:stop", &grace)) {
        return NULL;
    }
    if (owngil_refcount_is_inherited(&worker->base)) {
        Py_RETURN_NONE; /* as above */
    }
    return none_or_error(worker, owngil_interrupts_stop(worker, grace));
}

/* join(): wait until the worker's thread has ended, soon after EXITED, and free the memory that its
 * interpreter left. Return None. But if a thread that a private copy started still lives, keep that memory, which the
 * thread may use, and return the path of the library that started the thread (bytes, b"" if it is not known). */
static PyObject *
worker_join(PyObject *self, PyObject *Py_UNUSED(unused))
{
    const char *library = owngil_life_join(OWNGIL_UNWRAP(owngil_worker, self));
    return library != NULL ? PyBytes_FromString(library) : Py_NewRef(Py_None);
}

OWNGIL_DEFINE_GETTER(worker_get_interpreter_id, owngil_worker, PyLong_FromLongLong, atomic_load(&self->interpreter_id))
OWNGIL_DEFINE_GETTER(worker_get_task, owngil_worker, PyLong_FromUnsignedLongLong, owngil_worker_running_task(self))

/* counters(): return (phase, spent, waited, tasks, calls, failed, bytes_in, bytes_out) up to this moment. `spent` has
 * the nanoseconds in each phase: starting, idle, reading, running, writing, ending. */
static PyObject *
worker_counters(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_counters_snapshot copy = owngil_counters_read(&OWNGIL_UNWRAP(owngil_worker, self)->activity.counters);
    const int64_t *spent = copy.spent;
    return Py_BuildValue("(i(LLLLLL)LLLLLL)", copy.phase, (long long)spent[0], (long long)spent[1], (long long)spent[2],
                         (long long)spent[3], (long long)spent[4], (long long)spent[5], (long long)copy.waited,
                         (long long)copy.tasks, (long long)copy.calls, (long long)copy.failed, (long long)copy.bytes_in,
                         (long long)copy.bytes_out);
}

static PyMethodDef worker_methods[] = {
    {"interrupt", worker_interrupt, METH_VARARGS},      {"stop", worker_stop, METH_VARARGS},
    {"counters", worker_counters, METH_NOARGS},         {"join", worker_join, METH_NOARGS},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS}, {NULL},
};

static PyGetSetDef worker_getset[] = {
    {"interpreter_id", worker_get_interpreter_id, NULL, "CPython's number of the interpreter; -1 before it is made."},
    {"task", worker_get_task, NULL, "Id of the running task; 0 for none."},
    {NULL},
};

static PyType_Slot worker_slots[] = {
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, worker_methods},
    {Py_tp_getset, worker_getset},
    {0},
};

OWNGIL_DEFINE_TYPE(worker, "owngil._core.Worker", owngil_wrapper, Py_TPFLAGS_DISALLOW_INSTANTIATION, worker_slots,
                   worker_type)

/* start_worker(name, number, bootstrap, setup, tasks, replies, workers): start a thread that makes an interpreter, runs
 * the source `bootstrap` in it, and ends it. `setup` is a tuple of parts for the worker. The worker reports to
 * `replies` with the id `number`; the last report is EXITED or KEPT. Put the Worker into the dict `workers` under its
 * number, before a signal handler can run. */
static PyObject *
start_worker(PyObject *module, PyObject *args)
{
    owngil_state *state = PyModule_GetState(module);
    const char *name, *bootstrap;
    unsigned long long number;
    PyObject *parts, *tasks, *replies, *workers;
    if (!PyArg_ParseTuple(args, "sKsOO!O!O!:start_worker", &name, &number, &bootstrap, &parts, state->queue_type,
                          &tasks, state->queue_type, &replies, &PyDict_Type, &workers)) {
        return NULL;
    }
    owngil_message *setup = owngil_parts_to_message(state, 0, 0, parts);
    if (setup == NULL) {
        return NULL;
    }
    int error = 0;
    owngil_worker *worker =
        owngil_life_start(name, (uint64_t)number, bootstrap, setup, OWNGIL_UNWRAP(owngil_queue, tasks),
                          OWNGIL_UNWRAP(owngil_queue, replies), &error);
    owngil_refcount_release(&setup->base);
    if (worker == NULL) {
        return PyErr_Format(PyExc_RuntimeError, "no thread can be started for worker '%s': %s", name, strerror(error));
    }
    /* Do this in C: as soon as this function returns, a signal handler may raise, and the worker would be lost. */
    PyObject *wrapper = owngil_wrap(state->worker_type, &worker->base);
    bool failed = wrapper == NULL || PyDict_SetItem(workers, PyTuple_GET_ITEM(args, 1), wrapper) < 0;
    Py_XDECREF(wrapper);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"start_worker", start_worker, METH_VARARGS},
    {NULL},
};

OWNGIL_DEFINE_FUNCTIONS(start_worker, functions)
