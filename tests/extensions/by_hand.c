/* Test module: the common interface (build.py) in plain C. -DSINGLE_PHASE: single-phase init. */
#include <Python.h>

#ifdef SINGLE_PHASE
#  define NAME "by_hand_single"
#  define INIT PyInit_by_hand_single
#else
#  define NAME "by_hand_multi"
#  define INIT PyInit_by_hand_multi
#endif

static long count = 0;

static PyObject *
bump(PyObject *self, PyObject *unused)
{
    return PyLong_FromLong(++count);
}

static PyObject *
apply(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "apply() takes a callable and its argument");
        return NULL;
    }
    return PyObject_CallOneArg(args[0], args[1]);
}

static PyObject *
fail(PyObject *self, PyObject *unused)
{
    PyErr_SetString(PyExc_ValueError, "refused");
    return NULL;
}

static PyObject *
total(PyObject *self, PyObject *array)
{
    Py_buffer view;
    if (PyObject_GetBuffer(array, &view, PyBUF_CONTIG_RO | PyBUF_FORMAT) < 0) {
        return NULL;
    }
    double sum = 0;
    for (Py_ssize_t i = 0; i < view.len / (Py_ssize_t)sizeof(double); i++) {
        sum += ((const double *)view.buf)[i];
    }
    PyBuffer_Release(&view);
    return PyFloat_FromDouble(sum);
}

static PyMethodDef methods[] = {
    {"bump", bump, METH_NOARGS, NULL},
    {"apply", (PyCFunction)(void (*)(void))apply, METH_FASTCALL, NULL},
    {"fail", fail, METH_NOARGS, NULL},
    {"total", total, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

#ifdef SINGLE_PHASE
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, NAME, NULL, -1, methods};
#else
static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, NAME, NULL, 0, methods, slots};
#endif

PyMODINIT_FUNC
INIT(void)
{
#ifdef SINGLE_PHASE
    return PyModule_Create(&definition);
#else
    return PyModuleDef_Init(&definition);
#endif
}
