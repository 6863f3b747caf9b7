/* Calls with a limit of time; for the worker's own thread. */
#include "bindings/raise.h"
#include "bindings/state.h"
#include "workers/worker.h"

/* run_limited(seconds, grace, timed_out, fn, args, kwargs, /): call fn(*args, **kwargs), and interrupt it after so
 * many seconds. If that comes before its end, the exception that ``timed_out()`` returns is raised, whatever the call
 * returns or raises then, which is the cause. If it still runs `grace` seconds after the interrupt, the dispatcher is
 * told. */
static PyObject *
run_limited(PyObject *Py_UNUSED(module), PyObject *args)
{
    double seconds, grace;
    PyObject *timed_out, *fn, *fn_args, *fn_kwargs;
    if (!PyArg_ParseTuple(args, "ddOOO!O!:run_limited", &seconds, &grace, &timed_out, &fn, &PyTuple_Type, &fn_args,
                          &PyDict_Type, &fn_kwargs)) {
        return NULL;
    }
    owngil_worker *worker = owngil_worker_current();
    if (worker == NULL || atomic_load(&worker->limit) != 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        worker == NULL ? "this thread is not a worker's own" : "this call has a limit already");
        return NULL;
    }
    uint64_t limit = ++worker->limits;
    bool has_timer = seconds < 1e9;
    worker->limit_grace = grace;
    atomic_store(&worker->limit, limit);
    int error = has_timer ? owngil_timer_set(&worker->limit_timer, seconds, limit) : 0;
    if (error != 0) {
        atomic_store(&worker->limit, 0);
        return owngil_raise_errno(error);
    }
    PyObject *result = PyObject_Call(fn, fn_args, fn_kwargs);
    bool in_time = !has_timer || owngil_timer_unset(&worker->limit_timer);
    atomic_store(&worker->limit, 0); /* from here on, no interrupt for this limit arrives */
    if (in_time) {
        return result;
    }
    PyThreadState_SetAsyncExc(worker->ident,
                              NULL); /* one may have, and not been raised; leaves an exception that is set alone */
    Py_CLEAR(result);
    PyObject *cause = PyErr_GetRaisedException(); /* NULL if it returned */
    PyObject *exception = PyObject_CallNoArgs(timed_out);
    if (exception != NULL && PyExceptionInstance_Check(exception)) {
        PyException_SetCause(exception, cause);
        PyErr_SetRaisedException(exception);
        return NULL;
    }
    if (exception != NULL) {
        PyErr_SetString(PyExc_TypeError, "timed_out() must return an exception");
        Py_DECREF(exception);
    }
    Py_XDECREF(cause);
    return NULL;
}

OWNGIL_DEFINE_FUNCTIONS(limits, {"run_limited", run_limited, METH_VARARGS, NULL})
