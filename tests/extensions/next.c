/* Module: finds by name a function that both it and the library after it, libnext.so (library.c), have. */
#include <Python.h>

#include <dlfcn.h>

__attribute__((visibility("default"))) long
next_bump(void)
{
    return -1;
}

/* find(): call what the dynamic loader finds here, in the next library, and under a name that nothing has. */
static PyObject *
find(PyObject *self, PyObject *unused)
{
    long (*here)(void) = (long (*)(void))dlsym(RTLD_DEFAULT, "next_bump");
    long (*next)(void) = (long (*)(void))dlsym(RTLD_NEXT, "next_bump");
    return Py_BuildValue("llN", here != NULL ? here() : 0, next != NULL ? next() : 0,
                         PyBool_FromLong(dlsym(RTLD_NEXT, "next_nothing") != NULL));
}

static PyMethodDef methods[] = {{"find", find, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "next", NULL, 0, methods, slots};

PyMODINIT_FUNC
PyInit_next(void)
{
    return PyModuleDef_Init(&definition);
}
