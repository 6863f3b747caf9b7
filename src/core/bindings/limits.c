/* Calls with a limit of time, on a worker's own thread. */
#include "bindings/raise.h"
#include "bindings/worker.h"

/* run_limited(seconds, grace, timed_out, fn, args, kwargs, /): return fn(*args, **kwargs), or interrupt the call after
 * `seconds`. In that case raise the exception that ``timed_out()`` returns or raises, whatever the call returns or raises
 * then; an exception of the call is the cause. If the call still runs `grace` seconds after the interrupt, the dispatcher
 * hears of it. */
static PyObject *
run_limited(PyObject *Py_UNUSED(module), PyObject *args)
{
    double seconds, grace;
    PyObject *timed_out, *fn, *fn_args, *fn_kwargs;
    if (!PyArg_ParseTuple(args, "ddOOO!O!:run_limited", &seconds, &grace, &timed_out, &fn, &PyTuple_Type, &fn_args,
                          &PyDict_Type, &fn_kwargs)) {
        return NULL;
    }
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    if (!(seconds >= 0)) { /* or not a number */
        return PyErr_Format(PyExc_ValueError, "a limit must be 0 seconds or more");
    }
    if (atomic_load(&worker->limit) != 0) {
        return PyErr_Format(PyExc_RuntimeError, "this call has a limit already");
    }
    uint64_t limit = ++worker->limits;
    bool has_timer = seconds < 1e9;
    worker->limit_grace = grace;
    atomic_store(&worker->limit, limit);
    int error = has_timer ? owngil_timer_set(&worker->limit_timer, seconds, limit, true) : 0;
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
    /* Drop an interrupt that arrived and has not been raised yet. This keeps an exception that is set. */
    PyThreadState_SetAsyncExc(worker->ident, NULL);
    Py_CLEAR(result);
    PyObject *cause = PyErr_GetRaisedException(); /* NULL if the call returned */
    PyObject *exception = PyObject_CallNoArgs(timed_out);
    if (exception == NULL || !PyExceptionInstance_Check(exception)) {
        if (exception != NULL) {
            PyErr_SetString(PyExc_TypeError, "timed_out() must return an exception");
            Py_DECREF(exception);
        }
        exception = PyErr_GetRaisedException();
    }
    PyException_SetCause(exception, cause);
    PyErr_SetRaisedException(exception);
    return NULL;
}

static PyMethodDef functions[] = {
    {"run_limited", run_limited, METH_VARARGS},
    {NULL},
};

OWNGIL_DEFINE_FUNCTIONS(limits, functions)
