#include "bindings/future.h"

/* Attributes of TaskFuture, interned. The first is the condition that all futures have, once somebody asked for it, else
 * None; the next are concurrent.futures.Future's, unchanged since 3.2. */
enum { CONDITION, STATE, RESULT, PENDING, FINISHED, TAKE_ANSWER, MESSAGE };

/* Returns a new tuple of the names above, or NULL with an exception. */
static PyObject *
make_names(void)
{
    static const char *const names[] = {
        [CONDITION] = "_made_condition", [STATE] = "_state",      [RESULT] = "_result",
        [PENDING] = "PENDING",           [FINISHED] = "FINISHED", [TAKE_ANSWER] = "take_answer",
        [MESSAGE] = "_message",
    };
    const Py_ssize_t count = sizeof(names) / sizeof(names[0]);
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t k = 0; tuple != NULL && k < count; k++) {
        PyObject *name = PyUnicode_InternFromString(names[k]);
        if (name == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, k, name);
    }
    return tuple;
}

int
owngil_future_set_quietly(owngil_state *module_state, PyObject *future, PyObject *result)
{
    PyObject *names = module_state->future_names;
    int quiet = -1;
    PyObject *state = PyObject_GetAttr(future, PyTuple_GET_ITEM(names, STATE));
    PyObject *condition = PyObject_GetAttr(future, PyTuple_GET_ITEM(names, CONDITION));
    if (state != NULL && condition != NULL) {
        quiet = condition == Py_None && state == PyTuple_GET_ITEM(names, PENDING);
        if (quiet
            && (PyObject_SetAttr(future, PyTuple_GET_ITEM(names, RESULT), result) < 0
                || PyObject_SetAttr(future, PyTuple_GET_ITEM(names, STATE), PyTuple_GET_ITEM(names, FINISHED)) < 0)) {
            quiet = -1;
        }
    }
    Py_XDECREF(condition);
    Py_XDECREF(state);
    return quiet;
}

int
owngil_future_set_message(owngil_state *state, PyObject *future, PyObject *message)
{
    return future == NULL || future == Py_None
               ? 0
               : PyObject_SetAttr(future, PyTuple_GET_ITEM(state->future_names, MESSAGE), message);
}

int
owngil_future_take_answer(owngil_state *state, PyObject *future, int kind, PyObject *parts)
{
    PyObject *number = PyLong_FromLong(kind);
    PyObject *arguments[] = {future, number, parts};
    PyObject *done = number != NULL ? PyObject_VectorcallMethod(PyTuple_GET_ITEM(state->future_names, TAKE_ANSWER),
                                                                arguments, 3, NULL)
                                    : NULL;
    Py_XDECREF(number);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* set_quietly(future, result, /): set the result of a TaskFuture if nobody is to be told of it; return whether that
 * was so. */
static PyObject *
set_quietly(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "set_quietly() takes a future and a result");
        return NULL;
    }
    int quiet = owngil_future_set_quietly(PyModule_GetState(module), args[0], args[1]);
    return quiet < 0 ? NULL : PyBool_FromLong(quiet);
}

static PyMethodDef functions[] = {
    {"set_quietly", OWNGIL_FAST(set_quietly), NULL},
    {NULL, NULL, 0, NULL},
};

int
owngil_add_future(PyObject *module, owngil_state *state)
{
    state->future_names = make_names();
    return state->future_names == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
