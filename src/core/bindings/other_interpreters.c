/* For functions of the standard library that walk or change what all interpreters use, without a lock: in place of
 * them, or around them. */
#include "bindings/state.h"
#include "cpython/tracemalloc_hooks.h"
#include "workers/pause.h"

/* Returns a new dict of what `describe` returns for each thread of the calling interpreter, or NULL with an exception.
 * The thread states stay while this walks them: it has the GIL, and runs no Python code. */
static PyObject *
describe_threads(PyObject *(*describe)(PyThreadState *))
{
    PyObject *dict = PyDict_New();
    PyThreadState *at = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; dict != NULL && at != NULL; at = PyThreadState_Next(at)) {
        PyObject *value = describe(at);
        PyObject *ident = value != NULL ? PyLong_FromUnsignedLong(at->thread_id) : NULL;
        if (ident != NULL ? PyDict_SetItem(dict, ident, value) < 0 : PyErr_Occurred() != NULL) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(ident);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *
frame_of(PyThreadState *tstate)
{
    return (PyObject *)PyThreadState_GetFrame(tstate);
}

/* Returns the exception that the thread handles, or None. */
static PyObject *
exception_of(PyThreadState *tstate)
{
    const _PyErr_StackItem *item = tstate->exc_info;
    while ((item->exc_value == NULL || item->exc_value == Py_None) && item->previous_item != NULL) {
        item = item->previous_item;
    }
    return Py_NewRef(item->exc_value != NULL ? item->exc_value : Py_None);
}

/* current_frames(): as sys._current_frames(), for the threads of this interpreter. */
static PyObject *
current_frames(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return describe_threads(frame_of);
}

/* current_exceptions(): as sys._current_exceptions(), for the threads of this interpreter. */
static PyObject *
current_exceptions(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return describe_threads(exception_of);
}

/* Returns 0 if tracemalloc does not trace, or sees the main interpreter's memory only from now on; or -1 with an
 * exception. */
static int
hide_from_tracemalloc(void)
{
    if (owngil_tracemalloc_hooks_is_tracing() && owngil_tracemalloc_hooks_install() < 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "tracemalloc is tracing below the allocator of another tool, where owngil cannot keep workers"
                        " out of it. Stop that tool or tracemalloc.");
        return -1;
    }
    return 0;
}

/* call_alone(function, args): return ``function(*args)``, called while all workers are paused; see pause.h. If that has
 * started tracemalloc, it sees the main interpreter's memory only. For the main interpreter. */
static PyObject *
call_alone(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *function, *arguments;
    if (!PyArg_ParseTuple(args, "OO!:call_alone", &function, &PyTuple_Type, &arguments)) {
        return NULL;
    }
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        return PyErr_Format(PyExc_RuntimeError, "only the main interpreter can pause the workers");
    }
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = owngil_pause_begin();
    Py_END_ALLOW_THREADS
    if (error != 0) {
        return PyErr_Format(PyExc_RuntimeError, "the workers cannot be paused: %s", strerror(error));
    }
    PyObject *result = PyObject_Call(function, arguments, NULL);
    if (result != NULL && hide_from_tracemalloc() < 0) {
        Py_CLEAR(result);
    }
    Py_BEGIN_ALLOW_THREADS
    owngil_pause_end();
    Py_END_ALLOW_THREADS
    return result;
}

/* trace_main_only(): let tracemalloc, if it is tracing, see the main interpreter's memory only. Call it before there are
 * workers. */
static PyObject *
trace_main_only(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return hide_from_tracemalloc() < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"current_frames", current_frames, METH_NOARGS},
    {"current_exceptions", current_exceptions, METH_NOARGS},
    {"call_alone", call_alone, METH_VARARGS},
    {"trace_main_only", trace_main_only, METH_NOARGS},
    {NULL},
};

OWNGIL_DEFINE_FUNCTIONS(other_interpreters, functions)
