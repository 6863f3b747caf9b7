/* A module whose function on_instruction() is a callback of sys.monitoring: it raises a signal, or interrupts its own
 * thread, at the given instructions of owngil and of the standard library's futures and threads. CPython notices either
 * at its next check. The callback is written in C, because CPython would check in a callback in Python.
 */
#include <Python.h>

#include <stdbool.h>
#include <string.h>

static long count, first, second;
static int number; /* of the signal; 0: KeyboardInterrupt for the thread */
static unsigned long thread;

static bool
is_watched(PyObject *code)
{
    PyObject *name = PyObject_GetAttrString(code, "co_filename");
    const char *file = name != NULL ? PyUnicode_AsUTF8(name) : NULL;
    bool watched = file != NULL
                   && (strstr(file, "/owngil/") != NULL || strstr(file, "/concurrent/futures/") != NULL
                       || strstr(file, "/threading.py") != NULL);
    Py_XDECREF(name);
    PyErr_Clear();
    return watched;
}

/* arm(first, second, number): count from 1, and raise the signal at these two instructions (0: at none). */
static PyObject *
arm(PyObject *self, PyObject *args)
{
    if (!PyArg_ParseTuple(args, "lli:arm", &first, &second, &number)) {
        return NULL;
    }
    count = 0;
    thread = PyThread_get_thread_ident();
    Py_RETURN_NONE;
}

/* disarm(): return how many instructions were counted. */
static PyObject *
disarm(PyObject *self, PyObject *unused)
{
    thread = 0;
    return PyLong_FromLong(count);
}

static PyObject *
on_instruction(PyObject *self, PyObject *args)
{
    if (thread == PyThread_get_thread_ident() && is_watched(PyTuple_GET_ITEM(args, 0))) {
        count++;
        if (count == first || count == second) {
            if (number != 0) {
                PyErr_SetInterruptEx(number);
            }
            else {
                PyThreadState_SetAsyncExc(thread, PyExc_KeyboardInterrupt);
            }
        }
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"arm", arm, METH_VARARGS},
    {"disarm", disarm, METH_NOARGS},
    {"on_instruction", on_instruction, METH_VARARGS},
    {NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0},
};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "signal_at", .m_size = 0, .m_methods = functions, .m_slots = slots,
};

PyMODINIT_FUNC
PyInit_signal_at(void)
{
    return PyModuleDef_Init(&module);
}
