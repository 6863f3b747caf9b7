#include "cpython/type_versions.h"

#include <stdatomic.h>

static atomic_bool exhausted; /* CPython gives immutable types no versions any more */
static bool unknown;          /* owngil_type_versions_check() has failed; set before there is a worker */

/* Gives the type a version, if it has none: from the process's counter if that is not exhausted, else from the
 * interpreter's own counter, as if the type were mutable. Its bases come first, as in CPython. Needs the GIL of the
 * only interpreter that has the type. */
static void
give_version(PyTypeObject *type)
{
    if (!PyType_HasFeature(type, Py_TPFLAGS_IMMUTABLETYPE) || owngil_compat_is_shared_type(type)
        || owngil_compat_has_version(type)) {
        return;
    }
    for (Py_ssize_t k = 0; type->tp_bases != NULL && k < PyTuple_GET_SIZE(type->tp_bases); k++) {
        give_version((PyTypeObject *)PyTuple_GET_ITEM(type->tp_bases, k));
    }
    if (!atomic_load(&exhausted)) {
        if (PyUnstable_Type_AssignVersionTag(type)) {
            return;
        }
        atomic_store(&exhausted, true);
    }
    type->tp_flags &= ~Py_TPFLAGS_IMMUTABLETYPE;
    (void)PyUnstable_Type_AssignVersionTag(type);
    type->tp_flags |= Py_TPFLAGS_IMMUTABLETYPE;
}

/* Makes CPython give the type a version in the usual way, if it is immutable. */
static void
give_usual_version(PyTypeObject *type)
{
    if (PyType_HasFeature(type, Py_TPFLAGS_IMMUTABLETYPE)) {
        (void)PyUnstable_Type_AssignVersionTag(type);
    }
}

/* Adds the type to the set, if it has several bases and can so be visited twice. Returns whether it was in the set, or
 * -1 with an exception. */
static int
add_seen(PyTypeObject *type, PyObject *seen)
{
    if (type->tp_bases == NULL || PyTuple_GET_SIZE(type->tp_bases) < 2) {
        return 0;
    }
    PyObject *key = PyLong_FromVoidPtr(type); /* not the type, whose metaclass may define __hash__ */
    int result = key != NULL ? PySet_Contains(seen, key) : -1;
    if (result == 0 && PySet_Add(seen, key) < 0) {
        result = -1;
    }
    Py_XDECREF(key);
    return result;
}

/* Visits the type and all its subclasses. `subclasses` is type.__subclasses__. Returns -1 with an exception. */
static int
visit_tree(PyTypeObject *type, void (*visit)(PyTypeObject *), PyObject *subclasses, PyObject *seen)
{
    int known = add_seen(type, seen);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    visit(type);
    PyObject *list = PyObject_CallOneArg(subclasses, (PyObject *)type);
    int result = list != NULL && PyList_Check(list) ? 0 : -1;
    for (Py_ssize_t k = 0; result == 0 && k < PyList_GET_SIZE(list); k++) {
        result = visit_tree((PyTypeObject *)PyList_GET_ITEM(list, k), visit, subclasses, seen);
    }
    Py_XDECREF(list);
    return result;
}

/* Visits all types of the interpreter. Returns -1 with an exception. */
static int
visit_all(void (*visit)(PyTypeObject *))
{
    PyObject *seen = PySet_New(NULL);
    PyObject *subclasses = seen != NULL ? PyObject_GetAttrString((PyObject *)&PyType_Type, "__subclasses__") : NULL;
    int result = subclasses != NULL ? visit_tree(&PyBaseObject_Type, visit, subclasses, seen) : -1;
    Py_XDECREF(subclasses);
    Py_XDECREF(seen);
    return result;
}

/* Uses up version numbers of the process: as many as one type may have (1,000 since 3.13). Returns how many, or -1 with
 * an exception. */
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

bool
owngil_type_versions_check(PyTypeObject *own)
{
    unknown = !owngil_compat_is_shared_type(&PyEllipsis_Type) || owngil_compat_is_shared_type(own);
    return !unknown;
}

int
owngil_type_versions_exhaust_shared(void)
{
    if (PY_VERSION_HEX >= 0x030E0000) { /* CPython counts atomically */
        return 0;
    }
    int count = visit_all(give_usual_version);
    do {
        count = count < 0 ? -1 : use_up_some();
    } while (count > 0);
    atomic_store(&exhausted, count == 0);
    return count;
}

void
owngil_type_versions_give(PyObject *module)
{
    PyObject *names = PyModule_Check(module) && !unknown ? PyModule_GetDict(module) : NULL;
    Py_ssize_t at = 0;
    PyObject *value;
    while (names != NULL && PyDict_Next(names, &at, NULL, &value)) {
        give_version(Py_TYPE(value));
        if (PyType_Check(value)) {
            give_version((PyTypeObject *)value);
        }
    }
}

int
owngil_type_versions_complete(Py_ssize_t *known)
{
    PyObject *modules = PyImport_GetModuleDict();
    Py_ssize_t count = modules != NULL && PyDict_Check(modules) ? PyDict_GET_SIZE(modules) : 0;
    if (count == *known || !atomic_load(&exhausted) || unknown) {
        return 0;
    }
    if (visit_all(give_version) < 0) {
        return -1;
    }
    *known = count;
    return 0;
}
