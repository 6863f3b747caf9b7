/* Test module: a C static that counts, in an extension that says nothing about sub-interpreters.
 * -DSINGLE_PHASE: single-phase init. -DNAME=x: the module's name. -DNO_INIT: no init function at all. -DSTART=n: it
 * counts from there. */
#include <Python.h>

#define STR_(x) #x
#define STR(x) STR_(x)
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

#ifndef START
#  define START 0
#endif

static long count = START;
static PyObject *kept = NULL; /* a Python object in a C static: fatal if two interpreters share it */

static PyObject *
bump(PyObject *self, PyObject *unused)
{
    PyObject *old = kept;
    kept = PyUnicode_FromFormat("bumped %ld", ++count);
    Py_XDECREF(old);
    return PyLong_FromLong(count);
}

static PyObject *
last(PyObject *self, PyObject *unused)
{
    return kept != NULL ? Py_NewRef(kept) : Py_NewRef(Py_None);
}

#ifdef SINGLE_PHASE
static PyModuleDef definition;

/* Return the module as its own C code finds it, without an argument. */
static PyObject *
find(PyObject *self, PyObject *unused)
{
    PyObject *module = PyState_FindModule(&definition);
    return Py_NewRef(module != NULL ? module : Py_None);
}
#endif

static PyMethodDef methods[] = {
#ifdef SINGLE_PHASE
    {"find", find, METH_NOARGS, NULL},
#endif
    {"bump", bump, METH_NOARGS, NULL},
    {"last", last, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

#ifdef FAILING
static int
exec_module(PyObject *module)
{
    PyErr_SetString(PyExc_LookupError, "this module refuses");
    return -1;
}
#endif

#ifdef SINGLE_PHASE
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, STR(NAME), NULL, -1, methods};
#else
static PyModuleDef_Slot slots[] = {
#  ifdef FAILING
    {Py_mod_exec, exec_module},
#  endif
    {0, NULL},
};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, STR(NAME), NULL, 0, methods, slots};
#endif

#ifndef NO_INIT
PyMODINIT_FUNC
CAT(PyInit_, NAME)(void)
{
#  ifdef SINGLE_PHASE
    PyObject *module = PyModule_Create(&definition);
    PyObject *type = PyType_FromSpec(&(PyType_Spec){
        .name = STR(NAME) ".Thing", .basicsize = sizeof(PyObject), .flags = Py_TPFLAGS_DEFAULT,
        .slots = (PyType_Slot[]){{0, NULL}}});
    PyModule_AddObject(module, "Thing", type);
    return module;
#  else
    return PyModuleDef_Init(&definition);
#  endif
}
#else
void *unused_1 = &definition;
#endif
