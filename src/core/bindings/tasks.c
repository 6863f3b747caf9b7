/* The tasks of a worker, for its own thread: taking, running and answering them, and its setup and end. */
#include "bindings/parts.h"
#include "bindings/raise.h"
#include "bindings/wait.h"
#include "bindings/worker.h"
#include "workers/registry.h"
#include "workers/shutdown.h"

/* worker_setup(): return (name, number, setup, tasks, replies) as start_worker() had them; for the worker's own
 * thread. */
static PyObject *
worker_setup(PyObject *module, PyObject *Py_UNUSED(unused))
{
    owngil_state *state = PyModule_GetState(module);
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    PyObject *parts = owngil_parts_from_message(state, worker->setup, false);
    if (parts == NULL) {
        return NULL;
    }
    owngil_refcount_acquire(&worker->tasks->base);
    PyObject *tasks = owngil_wrap(state->queue_type, &worker->tasks->base);
    owngil_refcount_acquire(&worker->replies->base);
    PyObject *replies = owngil_wrap(state->queue_type, &worker->replies->base);
    return Py_BuildValue("sKNNN", worker->name, (unsigned long long)worker->number, parts, tasks, replies);
}

/* take_task(): wait for the next task of this worker and return (id, parts); QueueClosed when there will be none, or
 * an END came. */
static PyObject *
take_task(PyObject *module, PyObject *Py_UNUSED(unused))
{
    owngil_state *state = PyModule_GetState(module);
    owngil_worker *worker = owngil_worker_require_current();
    owngil_message *message = NULL;
    if (worker == NULL) {
        return NULL;
    }
    owngil_events_wait(&worker->activity);
    if (owngil_wait_for_message(worker->tasks, worker->number + 1, &message, OWNGIL_DEADLINE_NEVER, state->queue_closed)
        < 0) {
        return NULL;
    }
    if (message->kind == OWNGIL_MESSAGE_END) {
        owngil_refcount_release(&message->base);
        return owngil_raise_status(OWNGIL_CLOSED, state->queue_closed);
    }
    PyObject *parts = owngil_parts_from_message(state, message, false);
    PyObject *result = parts == NULL ? NULL : Py_BuildValue("KN", (unsigned long long)message->id, parts);
    if (result == NULL) { /* no memory: it must not be lost */
        owngil_queue_put_back(worker->tasks, message);
        return NULL;
    }
    owngil_events_take(&worker->activity, message);
    owngil_message_clear(message);
    if (worker->request != NULL) {
        owngil_refcount_release(&worker->request->base);
    }
    worker->request = message;
    return result;
}

/* answer(kind, parts, /): send back what became of the task that take_task() returned last. */
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
    owngil_message *message = owngil_parts_to_message(state, kind, worker->request->id, args[1]);
    if (message == NULL) {
        return NULL;
    }
    owngil_events_answer(&worker->activity, message, kind != OWNGIL_MESSAGE_RESULT);
    owngil_status code = owngil_queue_answer(worker->replies, worker->request, message);
    owngil_refcount_release(&message->base);
    owngil_refcount_release(&worker->request->base);
    worker->request = NULL;
    if (code != OWNGIL_OK) {
        return owngil_raise_status(code, state->queue_closed);
    }
    Py_RETURN_NONE;
}

/* run_task(id, fn, /, *args): call fn(*args) as the task `id` (not 0) of this worker: only in there can
 * Worker.interrupt() and stop() hit. With the id START it is what comes before the first task, which only stop() hits. */
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

/* current_task(): return the id of the task that this worker runs, or is about to answer; 0 for none. */
static PyObject *
current_task(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_worker *worker = owngil_registry_of_thread();
    uint64_t task = worker == NULL ? 0 : owngil_worker_running_task(worker);
    if (task == 0 && worker != NULL && worker == owngil_worker_current() && worker->request != NULL) {
        task = worker->request->id;
    }
    return PyLong_FromUnsignedLongLong(task);
}

/* before_end(): prepare the end of a worker's interpreter, which waits for its other threads; for its atexit, first
 * registered. */
static PyObject *
before_end(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    owngil_shutdown_before_end(worker);
    Py_RETURN_NONE;
}

OWNGIL_DEFINE_FUNCTIONS(tasks, {"worker_setup", worker_setup, METH_NOARGS, NULL},
                        {"take_task", take_task, METH_NOARGS, NULL}, {"answer", OWNGIL_FAST(answer), NULL},
                        {"run_task", OWNGIL_FAST(run_task), NULL}, {"current_task", current_task, METH_NOARGS, NULL},
                        {"before_end", before_end, METH_NOARGS, NULL})
