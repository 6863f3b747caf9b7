/* Functions for a worker's own thread: take, run and answer tasks; and the worker's setup and end. */
#include "bindings/args.h"
#include "bindings/parts.h"
#include "bindings/raise.h"
#include "bindings/wait.h"
#include "bindings/worker.h"
#include "workers/registry.h"
#include "workers/shutdown.h"

/* worker_setup(): return (name, number, setup, tasks, replies), the arguments of start_worker(). A worker calls this
 * when before_end() is registered. */
static PyObject *
worker_setup(PyObject *module, PyObject *Py_UNUSED(unused))
{
    owngil_state *state = PyModule_GetState(module);
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    worker->prepared = true;
    return Py_BuildValue("sKNNN", worker->name, (unsigned long long)worker->number,
                         owngil_parts_from_message(state, worker->setup, false),
                         owngil_parts_wrap(state, &worker->tasks->base, false),
                         owngil_parts_wrap(state, &worker->replies->base, false));
}

/* take_task(): wait for the next task of this worker and return (id, parts). Raise QueueClosed when there will be none,
 * or when an END comes. */
static PyObject *
take_task(PyObject *module, PyObject *Py_UNUSED(unused))
{
    owngil_state *state = PyModule_GetState(module);
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    owngil_events_wait(&worker->activity);
    owngil_message *message =
        owngil_wait_for_message(worker->tasks, worker->number + 1, OWNGIL_DEADLINE_NEVER, state->queue_closed);
    if (message == NULL) {
        return NULL;
    }
    if (message->kind == OWNGIL_MESSAGE_END) {
        owngil_refcount_release(&message->base);
        return owngil_raise_status(OWNGIL_CLOSED, state->queue_closed);
    }
    PyObject *result =
        Py_BuildValue("KN", (unsigned long long)message->id, owngil_parts_from_message(state, message, false));
    if (result == NULL) { /* there is no memory: the task must not be lost */
        owngil_queue_put_back(worker->tasks, message);
        return NULL;
    }
    owngil_events_take(&worker->activity, message);
    owngil_message_clear(message);
    owngil_refcount_release((owngil_refcounted *)worker->request);
    worker->request = message;
    return result;
}

/* answer(kind, parts, /): send the answer to the task that take_task() returned last. */
static PyObject *
answer(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    owngil_state *state = PyModule_GetState(module);
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL || owngil_args_check_count("answer", count, 2, 2) < 0) {
        return NULL;
    }
    if (worker->request == NULL) {
        return PyErr_Format(PyExc_RuntimeError, "there is no task to answer");
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

/* run_task(id, fn, /, *args): call fn(*args) as the task `id` (not 0) of this worker: Worker.interrupt() and stop()
 * interrupt nothing but this call. The id START is for the call before the first task, which only stop() interrupts. */
static PyObject *
run_task(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    if (count < 2) {
        return PyErr_Format(PyExc_TypeError, "run_task() needs an id and a callable");
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
    /* Drop an interrupt that arrived too late to be raised in the call. This keeps an exception that is set. */
    PyThreadState_SetAsyncExc(worker->ident, NULL);
    return result;
}

/* uninterrupted(fn, /, *args): return fn(*args). If an interrupt of the worker's task arrives meanwhile, the core raises
 * it when fn has returned. Interrupts do not hit other threads: there this only calls fn. */
static PyObject *
uninterrupted(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (count < 1) {
        return PyErr_Format(PyExc_TypeError, "uninterrupted() needs a callable");
    }
    owngil_worker *worker = owngil_worker_current();
    bool outermost = worker != NULL && !worker->postpones;
    if (outermost) {
        worker->postpones = true;
    }
    PyObject *result = PyObject_Vectorcall(args[0], args + 1, (size_t)count - 1, NULL);
    if (outermost) {
        worker->postpones = false;
        if (worker->postponed) {
            worker->postponed = false;
            PyThreadState_SetAsyncExc(worker->ident, PyExc_KeyboardInterrupt);
        }
    }
    return result;
}

/* current_task(): return the id of the task that the worker of this interpreter runs, or, on its own thread, is about
 * to answer; 0 for none. */
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

/* has_own_folder(): return whether the calling worker has a current folder and a umask of its own. */
static PyObject *
has_own_folder(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_worker *worker = owngil_worker_require_current();
    return worker == NULL ? NULL : PyBool_FromLong(worker->has_own_folder);
}

/* before_end(): wait until the interpreter's other threads have ended, and prepare the interpreter's end. A worker
 * registers this among the first functions of atexit, so that it runs among the last. */
static PyObject *
before_end(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    if (worker->is_done) {
        owngil_shutdown_before_end(worker);
    }
    else { /* a task calls atexit._run_exitfuncs(), which calls each function once */
        worker->prepared = false;
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"worker_setup", worker_setup, METH_NOARGS},
    {"take_task", take_task, METH_NOARGS},
    {"answer", OWNGIL_FAST(answer)},
    {"run_task", OWNGIL_FAST(run_task)},
    {"uninterrupted", OWNGIL_FAST(uninterrupted)},
    {"current_task", current_task, METH_NOARGS},
    {"has_own_folder", has_own_folder, METH_NOARGS},
    {"before_end", before_end, METH_NOARGS},
    {NULL},
};

OWNGIL_DEFINE_FUNCTIONS(tasks, functions)
