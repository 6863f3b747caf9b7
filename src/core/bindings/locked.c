/* Locks for Python code: acquired and released here, around a call.
 *
 * After `lock.acquire()` in Python, and since 3.14 after the __enter__ of a `with`, a signal handler or an interrupt can
 * raise an exception before the block that would release the lock. Here it can do so in the called function only.
 */
#include "bindings/args.h"
#include "bindings/state.h"

/* Calls function(*args) and then releases the lock, which is held. Returns the result, or NULL with an exception. */
static PyObject *
call_and_release(owngil_state *state, PyObject *lock, PyObject *function, PyObject *const *args, Py_ssize_t count)
{
    PyObject *result = PyObject_Vectorcall(function, args, (size_t)count, NULL);
    PyObject *error = PyErr_GetRaisedException();
    PyObject *released = PyObject_CallMethodNoArgs(lock, state->release_name);
    if (error != NULL) {
        PyErr_Clear();
        PyErr_SetRaisedException(error);
    }
    else if (released == NULL) {
        Py_CLEAR(result);
    }
    Py_XDECREF(released);
    return result;
}

/* locked(lock, function, /, *args): return function(*args), called with the lock held; wait for the lock. */
static PyObject *
locked(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (owngil_args_check_count("locked", count, 2, PY_SSIZE_T_MAX) < 0) {
        return NULL;
    }
    owngil_state *state = PyModule_GetState(module);
    PyObject *acquired = PyObject_CallMethodNoArgs(args[0], state->acquire_name);
    if (acquired == NULL) {
        return NULL;
    }
    Py_DECREF(acquired);
    return call_and_release(state, args[0], args[1], args + 2, count - 2);
}

/* locked_within(lock, timeout, function, /, *args): call function(*args) with the lock held, and return True; or return
 * False if the lock was not free for `timeout` seconds (None: wait for ever). */
static PyObject *
locked_within(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (owngil_args_check_count("locked_within", count, 3, PY_SSIZE_T_MAX) < 0) {
        return NULL;
    }
    owngil_state *state = PyModule_GetState(module);
    PyObject *acquired = args[1] == Py_None
                             ? PyObject_CallMethodNoArgs(args[0], state->acquire_name)
                             : PyObject_CallMethodObjArgs(args[0], state->acquire_name, Py_True, args[1], NULL);
    if (acquired != Py_True) {
        return acquired; /* False, or NULL */
    }
    Py_DECREF(acquired);
    PyObject *result = call_and_release(state, args[0], args[2], args + 3, count - 3);
    Py_XDECREF(result);
    return result != NULL ? Py_NewRef(Py_True) : NULL;
}

static PyMethodDef functions[] = {
    {"locked", OWNGIL_FAST(locked)},
    {"locked_within", OWNGIL_FAST(locked_within)},
    {NULL},
};

int
owngil_add_locked(PyObject *module, owngil_state *state)
{
    state->acquire_name = PyUnicode_InternFromString("acquire");
    state->release_name = PyUnicode_InternFromString("release");
    return state->acquire_name == NULL || state->release_name == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
