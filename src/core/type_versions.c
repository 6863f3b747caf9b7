#include "type_versions.h"

#include <stdbool.h>

/* Lets CPython give the type a version, if it has none, as if it were a class that can be changed: from the interpreter's
 * own counter. Its bases come first, as CPython does it. Needs the GIL of the only interpreter that has the type. */
static void
give_own(PyTypeObject *type)
{
    if (!PyType_HasFeature(type, Py_TPFLAGS_IMMUTABLETYPE) || owngil_compat_is_shared_type(type)
        || owngil_compat_has_version(type)) {
        return;
    }
    for (Py_ssize_t k = 0; type->tp_bases != NULL && k < PyTuple_GET_SIZE(type->tp_bases); k++) {
        give_own((PyTypeObject *)PyTuple_GET_ITEM(type->tp_bases, k));
    }
    type->tp_flags &= ~Py_TPFLAGS_IMMUTABLETYPE;
    (void)PyUnstable_Type_AssignVersionTag(type);
    type->tp_flags |= Py_TPFLAGS_IMMUTABLETYPE;
}

/* Lets CPython give the type a version as it always does. */
static void
give_usual(PyTypeObject *type)
{
    if (PyType_HasFeature(type, Py_TPFLAGS_IMMUTABLETYPE)) {
        (void)PyUnstable_Type_AssignVersionTag(type);
    }
}

/* Visits all types of the interpreter, each once. Returns -1 with an exception. */
static int
visit_all(void (*visit)(PyTypeObject *))
{
    PyObject *seen = PySet_New(NULL);
    PyObject *left = seen != NULL ? PyList_New(0) : NULL;
    int result = left != NULL ? PyList_Append(left, (PyObject *)&PyBaseObject_Type) : -1;
    while (result == 0 && PyList_GET_SIZE(left) > 0) {
        Py_ssize_t last = PyList_GET_SIZE(left) - 1;
        PyObject *type = Py_NewRef(PyList_GET_ITEM(left, last));
        PyObject *key = PyLong_FromVoidPtr(type); /* not the type, whose metaclass may define __hash__ */
        int is_known = key != NULL ? PySet_Contains(seen, key) : -1;
        result = is_known < 0 || PyList_SetSlice(left, last, last + 1, NULL) < 0 ? -1 : 0;
        if (result == 0 && !is_known) {
            visit((PyTypeObject *)type);
            PyObject *subclasses = PyObject_CallMethod((PyObject *)&PyType_Type, "__subclasses__", "O", type);
            Py_ssize_t size = PyList_GET_SIZE(left);
            if (subclasses == NULL || PySet_Add(seen, key) < 0 || PyList_SetSlice(left, size, size, subclasses) < 0) {
                result = -1;
            }
            Py_XDECREF(subclasses);
        }
        Py_XDECREF(key);
        Py_DECREF(type);
    }
    Py_XDECREF(left);
    Py_XDECREF(seen);
    return result;
}

/* Uses up the versions of the process: as many as one type may have (1,000 since 3.13). Returns how many those were, or
 * -1 with an exception. */
static int
use_up_some(void)
{
    enum { SOME = 1000 };
    PyType_Slot no_slots[] = {{0, NULL}};
    PyType_Spec spec = {.name = "owngil.Unversioned", .flags = Py_TPFLAGS_DEFAULT, .slots = no_slots};
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(&spec);
    if (type == NULL) {
        return -1;
    }
    int count = 0;
    for (bool given = true; given && count < SOME; count += given) {
        PyType_Modified(type); /* it has no version now */
        type->tp_flags |= Py_TPFLAGS_IMMUTABLETYPE;
        given = PyUnstable_Type_AssignVersionTag(type);
        type->tp_flags &= ~Py_TPFLAGS_IMMUTABLETYPE;
    }
    Py_DECREF(type);
    return count;
}

int
owngil_type_versions_end_shared(void)
{
    int count = visit_all(give_usual);
    do {
        count = count < 0 ? -1 : use_up_some();
    } while (count > 0);
    return count;
}

int
owngil_type_versions_give(PyObject *module)
{
    if (module == NULL) {
        return visit_all(give_own);
    }
    PyObject *names = PyModule_Check(module) ? PyModule_GetDict(module) : NULL;
    Py_ssize_t at = 0;
    PyObject *value;
    while (names != NULL && PyDict_Next(names, &at, NULL, &value)) {
        give_own(Py_TYPE(value));
        if (PyType_Check(value)) {
            give_own((PyTypeObject *)value);
        }
    }
    return 0;
}
