/* A module that calls a library. -DNAME=x: the module's name. -DLIBRARY=y: it calls y_bump(). */
#include <Python.h>

#include <dlfcn.h>

#define STR_(x) #x
#define STR(x) STR_(x)
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

long CAT(LIBRARY, _bump)(void);

static PyObject *
bump(PyObject *self, PyObject *unused)
{
    return PyLong_FromLong(CAT(LIBRARY, _bump)());
}

static PyObject *
address(PyObject *self, PyObject *unused)
{
    return PyLong_FromVoidPtr((void *)CAT(LIBRARY, _bump));
}

static PyObject *
path(PyObject *self, PyObject *unused)
{
    Dl_info info;
    if (dladdr((void *)CAT(LIBRARY, _bump), &info) == 0) {
        Py_RETURN_NONE;
    }
    return PyUnicode_DecodeFSDefault(info.dli_fname);
}

static PyMethodDef methods[] = {
    {"bump", bump, METH_NOARGS, NULL},
    {"address", address, METH_NOARGS, NULL},
    {"path", path, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, STR(NAME), NULL, 0, methods, slots};

PyMODINIT_FUNC
CAT(PyInit_, NAME)(void)
{
    return PyModuleDef_Init(&definition);
}
