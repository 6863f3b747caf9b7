/* For a worker that needs what only the main interpreter has. */
#include "bindings/state.h"

#include <pthread.h>
#include <signal.h>

/* Returns what `module.function()` returns in the calling interpreter, copied; or NULL with an exception. */
static char *
call_for_bytes(const char *module, const char *function, Py_ssize_t *length)
{
    char *copy = NULL, *text;
    PyObject *found = PyImport_ImportModule(module);
    PyObject *result = found == NULL ? NULL : PyObject_CallMethod(found, function, NULL);
    if (result != NULL && PyBytes_AsStringAndSize(result, &text, length) == 0) {
        copy = PyMem_RawMalloc((size_t)*length + 1);
        if (copy == NULL) {
            PyErr_NoMemory();
        }
        else {
            memcpy(copy, text, (size_t)*length);
        }
    }
    Py_XDECREF(result);
    Py_XDECREF(found);
    return copy;
}

/* call_in_main(module, function): call a function of a module in the main interpreter, on the calling thread, and return
 * the bytes that it returns. The thread gives up its own GIL meanwhile, and waits for main's. */
static PyObject *
call_in_main(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *module, *function; /* UTF-8 of the arguments, which the caller keeps */
    Py_ssize_t length = 0;
    if (!PyArg_ParseTuple(args, "ss:call_in_main", &module, &function)) {
        return NULL;
    }
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_RuntimeError, "call_in_main() is for workers");
        return NULL;
    }
    sigset_t signals; /* of the thread: multiprocessing changes them where it starts a process */
    pthread_sigmask(SIG_BLOCK, NULL, &signals);
    PyThreadState *own = PyEval_SaveThread();
    PyThreadState *visiting = PyThreadState_New(PyInterpreterState_Main());
    char *copy = NULL;
    if (visiting != NULL) {
        PyEval_RestoreThread(visiting);
        copy = call_for_bytes(module, function, &length);
        if (copy == NULL) {
            PyErr_WriteUnraisable(NULL);
        }
        PyThreadState_Clear(visiting);
        PyThreadState_DeleteCurrent();
    }
    pthread_sigmask(SIG_SETMASK, &signals, NULL);
    PyEval_RestoreThread(own);
    if (copy == NULL) {
        return PyErr_Format(PyExc_RuntimeError, "%s.%s() failed in the main interpreter", module, function);
    }
    PyObject *result = PyBytes_FromStringAndSize(copy, length);
    PyMem_RawFree(copy);
    return result;
}

static PyMethodDef functions[] = {
    {"call_in_main", call_in_main, METH_VARARGS},
    {NULL},
};

OWNGIL_DEFINE_FUNCTIONS(main_calls, functions)
