/* Test module: changes reference counts as code for the stable ABI before Python 3.12 does: as plain numbers, without
 * checking whether the object is immortal. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *
hammer(PyObject *self, PyObject *args)
{
    PyObject *items;
    Py_ssize_t count;
    if (!PyArg_ParseTuple(args, "O!n", &PyTuple_Type, &items, &count)) {
        return NULL;
    }
    for (Py_ssize_t k = 0; k < count; k++) {
        for (Py_ssize_t n = 0; n < PyTuple_GET_SIZE(items); n++) {
            volatile Py_ssize_t *refcnt = (volatile Py_ssize_t *)&((PyObject *)PyTuple_GET_ITEM(items, n))->ob_refcnt;
            *refcnt = *refcnt + 1;
            *refcnt = *refcnt - 1;
        }
    }
    Py_RETURN_NONE;
}

static PyObject *
add(PyObject *self, PyObject *args)
{
    PyObject *item;
    Py_ssize_t change;
    if (!PyArg_ParseTuple(args, "On", &item, &change)) {
        return NULL;
    }
    *(volatile Py_ssize_t *)&item->ob_refcnt += change;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"hammer", hammer, METH_VARARGS, NULL},
    {"add", add, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "old_counts", .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC
PyInit_old_counts(void)
{
    return PyModuleDef_Init(&definition);
}
