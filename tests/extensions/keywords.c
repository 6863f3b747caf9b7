/* A module whose first call interns thousands of new strings as keyword names, which CPython keeps for the process. */
#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE_MODULE 1
#include <Python.h>
#if PY_VERSION_HEX >= 0x030D0000
#  include "internal/pycore_modsupport.h"
#endif
#include <stdio.h>
#include <stdlib.h>

enum { PARSERS = 6000 };

static struct {
    char name[32];
    const char *names[2];
    _PyArg_Parser parser;
} all[PARSERS];

static PyObject *
intern(PyObject *module, PyObject *unused)
{
    PyObject *none = PyTuple_New(0), *value;
    for (int k = 0; none != NULL && k < PARSERS; k++) {
        snprintf(all[k].name, sizeof(all[k].name), "keyword_of_owngils_tests_%d", k);
        all[k].names[0] = all[k].name;
        all[k].parser = (_PyArg_Parser){.format = "|O:intern", .keywords = all[k].names};
        if (!_PyArg_ParseTupleAndKeywordsFast(none, NULL, &all[k].parser, &value)) {
            Py_CLEAR(none);
        }
    }
    Py_XDECREF(none);
    return none == NULL ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {{"intern", intern, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "keywords", .m_methods = functions, .m_slots = slots};

PyMODINIT_FUNC
PyInit_keywords(void)
{
    return PyModuleDef_Init(&definition);
}
