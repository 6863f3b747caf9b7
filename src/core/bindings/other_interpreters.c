/* For functions of the standard library that walk or change what all interpreters use, without a lock: in place of
 * them, or around them. */
#include "bindings/state.h"
#include "cpython/tracemalloc_hooks.h"
#include "workers/pause.h"

/* Returns a new dict of what `describe` returns for each thread of the calling interpreter, or NULL with an exception.
 * The thread states stay while this walks them: it has the GIL, and runs no Python code. In the main interpreter, it
 * needs begin_walk(), too. */
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

/* In the main interpreter, keeps its thread states in their list until end_walk(); see owngil_pause_changes_begin().
 * Returns -1 with an exception. */
static int
begin_walk(void)
{
    int error = 0;
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) {
        Py_BEGIN_ALLOW_THREADS
        error = owngil_pause_changes_begin();
        Py_END_ALLOW_THREADS
    }
    if (error != 0) {
        PyErr_Format(PyExc_RuntimeError, "the main interpreter's threads cannot be listed now: %s", strerror(error));
    }
    return error == 0 ? 0 : -1;
}

static void
end_walk(void)
{
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) {
        owngil_pause_changes_end();
    }
}

/* current_frames(): as sys._current_frames(), for the threads of this interpreter. */
static PyObject *
current_frames(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    if (begin_walk() < 0) {
        return NULL;
    }
    PyObject *result = describe_threads(frame_of);
    end_walk();
    return result;
}

/* current_exceptions(): as sys._current_exceptions(), for the threads of this interpreter. */
static PyObject *
current_exceptions(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    if (begin_walk() < 0) {
        return NULL;
    }
    PyObject *result = describe_threads(exception_of);
    end_walk();
    return result;
}

/* Functions of sys that are replaced where their definition has the address: debuggers keep the function objects. */
static struct {
    const char *name;
    PyCFunction replacement, original;
    PyMethodDef *definition; /* NULL: not found */
} lists[] = {
    {.name = "_current_frames", .replacement = current_frames},
    {.name = "_current_exceptions", .replacement = current_exceptions},
};

/* Returns the definition of a function without arguments in the table of `sys`, or NULL. */
static PyMethodDef *
definition_in_sys(const char *name)
{
    PyObject *sys = PyImport_ImportModule("sys");
    PyModuleDef *module = sys != NULL ? PyModule_GetDef(sys) : NULL;
    PyMethodDef *at = module != NULL ? module->m_methods : NULL;
    while (at != NULL && at->ml_name != NULL && strcmp(at->ml_name, name) != 0) {
        at++;
    }
    Py_XDECREF(sys); /* the table is static */
    return at != NULL && at->ml_name != NULL && at->ml_flags == METH_NOARGS ? at : NULL;
}

/* replace_lists(whether): let sys._current_frames() and sys._current_exceptions() of all interpreters show the threads
 * of the calling interpreter, or all threads again. For the main interpreter. */
static PyObject *
replace_lists(PyObject *Py_UNUSED(module), PyObject *whether)
{
    for (size_t k = 0; k < sizeof(lists) / sizeof(lists[0]); k++) {
        if (lists[k].definition == NULL && (lists[k].definition = definition_in_sys(lists[k].name)) != NULL) {
            lists[k].original = lists[k].definition->ml_meth;
        }
        if (lists[k].definition == NULL) {
            PyErr_Clear(); /* there is nothing to replace */
        }
        else {
            lists[k].definition->ml_meth = whether == Py_True ? lists[k].replacement : lists[k].original;
        }
    }
    Py_RETURN_NONE;
}

/* call_walking(function, *args): return ``function(*args)``, which walks the thread states of this interpreter. */
static PyObject *
call_walking(PyObject *Py_UNUSED(module), PyObject *args)
{
    if (PyTuple_GET_SIZE(args) == 0) {
        return PyErr_Format(PyExc_TypeError, "call_walking() needs a function");
    }
    PyObject *arguments = PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args));
    PyObject *result = NULL;
    if (arguments != NULL && begin_walk() == 0) {
        result = PyObject_Call(PyTuple_GET_ITEM(args, 0), arguments, NULL);
        end_walk();
    }
    Py_XDECREF(arguments);
    return result;
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
    {"replace_lists", replace_lists, METH_O},
    {"call_alone", call_alone, METH_VARARGS},
    {"call_walking", call_walking, METH_VARARGS},
    {"trace_main_only", trace_main_only, METH_NOARGS},
    {NULL},
};

OWNGIL_DEFINE_FUNCTIONS(other_interpreters, functions)
