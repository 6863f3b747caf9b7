#include "bindings/future.h"

#include "bindings/args.h"

/* Attributes of TaskFuture, and values of its `_status`, which are those of concurrent.futures.Future's `_state`;
 * interned. */
enum { STATUS, RESULT, EXCEPTION, WAITING, CALLBACKS, MESSAGE, ON_RESOLVED, PENDING, RUNNING, FINISHED, CANCELLED };

/* How often a function that insist() calls may be ended by exceptions. Each comes from a signal or an interrupt, so this
 * is reached only by a function that cannot run at all, because there is no memory or no stack. */
enum { MOST_TRIES = 100 };

/* Returns a new tuple of the names above, or NULL with an exception. */
static PyObject *
make_names(void)
{
    static const char *const names[] = {
        [STATUS] = "_status",
        [RESULT] = "_result",
        [EXCEPTION] = "_exception",
        [WAITING] = "_waiting",
        [CALLBACKS] = "_done_callbacks",
        [MESSAGE] = "_message",
        [ON_RESOLVED] = "_on_resolved",
        [PENDING] = "PENDING",
        [RUNNING] = "RUNNING",
        [FINISHED] = "FINISHED",
        [CANCELLED] = "CANCELLED_AND_NOTIFIED",
    };
    const Py_ssize_t count = sizeof(names) / sizeof(names[0]);
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t k = 0; tuple != NULL && k < count; k++) {
        PyObject *name = PyUnicode_InternFromString(names[k]);
        PyTuple_SET_ITEM(tuple, k, name);
        if (name == NULL) {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

int
owngil_future_set_message(owngil_state *state, PyObject *future, PyObject *message)
{
    return future == NULL || future == Py_None
               ? 0
               : PyObject_SetAttr(future, PyTuple_GET_ITEM(state->future_names, MESSAGE), message);
}

/* Returns whether the attribute is true, or -1 with an exception. */
static int
is_true(owngil_state *state, PyObject *future, int name)
{
    PyObject *value = PyObject_GetAttr(future, PyTuple_GET_ITEM(state->future_names, name));
    int truth = value != NULL ? PyObject_IsTrue(value) : -1;
    Py_XDECREF(value);
    return truth;
}

int
owngil_future_is_watched(owngil_state *state, PyObject *future)
{
    int watched = is_true(state, future, CALLBACKS);
    return watched != 0 ? watched : is_true(state, future, WAITING);
}

/* Returns 1 if the future's status is that of the name, 0 if not, or -1 with an exception. */
static int
has_status(owngil_state *state, PyObject *status, int name)
{
    return PyObject_RichCompareBool(status, PyTuple_GET_ITEM(state->future_names, name), Py_EQ);
}

/* Sets the outcome of a future that is not resolved. Returns as owngil_future_resolve(). */
static int
set_outcome(owngil_state *state, PyObject *future, owngil_future_outcome outcome, PyObject *value)
{
    PyObject *names = state->future_names;
    PyObject *status = PyObject_GetAttr(future, PyTuple_GET_ITEM(names, STATUS));
    int open = status != NULL ? has_status(state, status, PENDING) : -1;
    if (open == 0) {
        open = has_status(state, status, RUNNING);
    }
    Py_XDECREF(status);
    if (open <= 0) {
        return open;
    }
    int changed = outcome == OWNGIL_FUTURE_RESULT ? RESULT : EXCEPTION;
    if (outcome != OWNGIL_FUTURE_CANCELLED && PyObject_SetAttr(future, PyTuple_GET_ITEM(names, changed), value) < 0) {
        return -1;
    }
    int reached = outcome == OWNGIL_FUTURE_CANCELLED ? CANCELLED : FINISHED;
    return PyObject_SetAttr(future, PyTuple_GET_ITEM(names, STATUS), PyTuple_GET_ITEM(names, reached)) < 0 ? -1 : 1;
}

/* Calls function(*args), and again as long as it raises an exception. Returns the result; or NULL with the first
 * exception, after the function has returned all the same. */
static PyObject *
call_insistently(PyObject *function, PyObject *const *args, Py_ssize_t count)
{
    PyObject *first = NULL, *result = NULL;
    for (int tries = 0; result == NULL && tries < MOST_TRIES; tries++) {
        result = PyObject_Vectorcall(function, args, (size_t)count, NULL);
        if (result == NULL) {
            PyObject *error = PyErr_GetRaisedException();
            if (first == NULL) {
                first = error;
            }
            else {
                Py_DECREF(error);
            }
        }
    }
    if (first != NULL) {
        Py_CLEAR(result);
        PyErr_SetRaisedException(first);
    }
    return result;
}

int
owngil_future_resolve(owngil_state *state, PyObject *future, owngil_future_outcome outcome, PyObject *value)
{
    int set = set_outcome(state, future, outcome, value);
    if (set <= 0) {
        return set;
    }
    PyObject *tell = PyObject_GetAttr(future, PyTuple_GET_ITEM(state->future_names, ON_RESOLVED));
    PyObject *told = tell != NULL ? call_insistently(tell, NULL, 0) : NULL;
    Py_XDECREF(tell);
    Py_XDECREF(told);
    return told != NULL ? 1 : -1;
}

int
owngil_future_resolve_by(owngil_state *state, PyObject *future, PyObject *outcome)
{
    if (!PyTuple_CheckExact(outcome) || PyTuple_GET_SIZE(outcome) != 2) {
        PyErr_SetString(PyExc_TypeError, "an outcome must be a tuple of a result and an exception");
        return -1;
    }
    PyObject *exception = PyTuple_GET_ITEM(outcome, 1);
    return exception == Py_None
               ? owngil_future_resolve(state, future, OWNGIL_FUTURE_RESULT, PyTuple_GET_ITEM(outcome, 0))
               : owngil_future_resolve(state, future, OWNGIL_FUTURE_EXCEPTION, exception);
}

int
owngil_future_settle(owngil_state *state, PyObject *future, PyObject *function, PyObject *const *args, Py_ssize_t count)
{
    PyObject *outcome = PyObject_Vectorcall(function, args, (size_t)count, NULL);
    int resolved;
    if (outcome != NULL) {
        resolved = owngil_future_resolve_by(state, future, outcome);
        Py_DECREF(outcome);
    }
    else {
        PyObject *error = PyErr_GetRaisedException();
        resolved = owngil_future_resolve(state, future, OWNGIL_FUTURE_EXCEPTION, error);
        Py_DECREF(error);
    }
    return resolved;
}

/* resolve(future, result, exception=None, /): resolve a TaskFuture, and tell all that wait for it; return False if it
 * was resolved already. */
static PyObject *
resolve(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (owngil_args_check_count("resolve", count, 2, 3) < 0) {
        return NULL;
    }
    bool failed = count > 2 && args[2] != Py_None;
    int resolved = owngil_future_resolve(PyModule_GetState(module), args[0],
                                         failed ? OWNGIL_FUTURE_EXCEPTION : OWNGIL_FUTURE_RESULT, args[failed ? 2 : 1]);
    return resolved < 0 ? NULL : PyBool_FromLong(resolved);
}

/* settle(future, function, /, *args): resolve a TaskFuture with what function(*args) returns, (result, None) or
 * (None, exception), or with the exception that it raises. Do nothing if the future was resolved meanwhile. */
static PyObject *
settle(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (owngil_args_check_count("settle", count, 2, PY_SSIZE_T_MAX) < 0) {
        return NULL;
    }
    int resolved = owngil_future_settle(PyModule_GetState(module), args[0], args[1], args + 2, count - 2);
    return resolved < 0 ? NULL : Py_NewRef(Py_None);
}

/* insist(function, /, *args): call function(*args), and again as long as it raises an exception, as a signal handler or
 * an interrupt does in it. Then return the result, or raise the first exception. */
static PyObject *
insist(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (owngil_args_check_count("insist", count, 1, PY_SSIZE_T_MAX) < 0) {
        return NULL;
    }
    return call_insistently(args[0], args + 1, count - 1);
}

static PyMethodDef functions[] = {
    {"insist", OWNGIL_FAST(insist)},
    {"resolve", OWNGIL_FAST(resolve)},
    {"settle", OWNGIL_FAST(settle)},
    {NULL},
};

int
owngil_add_future(PyObject *module, owngil_state *state)
{
    state->future_names = make_names();
    return state->future_names == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
