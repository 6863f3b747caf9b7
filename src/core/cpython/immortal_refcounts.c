#include "cpython/immortal_refcounts.h"

#include "base/compat.h"

bool
owngil_immortal_refcounts_check(void)
{
    /* Not None: an extension module with an old stable ABI may have changed its count already. Py_IncRef() is CPython's
     * function, not the macro of the headers that owngil was built with. */
    PyObject *shared = Py_Ellipsis;
    Py_ssize_t before = Py_REFCNT(shared);
    Py_IncRef(shared);
    bool counts = Py_REFCNT(shared) != before;
    Py_DecRef(shared);
    return !counts;
}

#if PY_VERSION_HEX < 0x030E0000 && SIZEOF_VOID_P == 8

/* Far from zero, and from the change of the sign. */
static const Py_ssize_t UPPER = (Py_ssize_t)0x3FFFFFFF << 32;

/* Such a module may have changed a count before. No object has so many references that it comes near. */
static const Py_ssize_t NEAR = (Py_ssize_t)1 << 30;

static void
protect(PyObject *object)
{
    const Py_ssize_t immortal = (Py_ssize_t)_Py_IMMORTAL_REFCNT;
    if (object != NULL && object->ob_refcnt > immortal - NEAR && object->ob_refcnt < immortal + NEAR) {
        object->ob_refcnt = immortal + UPPER;
    }
}

/* Protects `object` and releases the reference. Returns -1 if `object` is NULL. */
static int
protect_new(PyObject *object)
{
    protect(object);
    Py_XDECREF(object);
    return object != NULL ? 0 : -1;
}

/* Protects a class, its names, and its subclasses. Returns -1 with an exception. */
static int
protect_class(PyObject *class)
{
    protect(class);
    PyObject *names = PyObject_Dir(class);
    for (Py_ssize_t k = 0; names != NULL && k < PyList_GET_SIZE(names); k++) {
        protect(PyList_GET_ITEM(names, k));
    }
    PyObject *subclasses = names != NULL ? PyObject_CallMethod(class, "__subclasses__", NULL) : NULL;
    int result = subclasses != NULL && PyList_Check(subclasses) ? 0 : -1;
    for (Py_ssize_t k = 0; result == 0 && k < PyList_GET_SIZE(subclasses); k++) {
        PyTypeObject *subclass = (PyTypeObject *)PyList_GET_ITEM(subclasses, k);
        if ((PyType_GetFlags(subclass) & Py_TPFLAGS_HEAPTYPE) == 0 && subclass != &PyType_Type) {
            result = protect_class((PyObject *)subclass);
        }
    }
    Py_XDECREF(subclasses);
    Py_XDECREF(names);
    return result;
}

int
owngil_immortal_refcounts_protect(void)
{
    enum { FIRST_INT = -5, LAST_INT = 256, CHARACTERS = 256 };
    PyObject *const singletons[] = {Py_None,     Py_True,           Py_False,
                                    Py_Ellipsis, Py_NotImplemented, (PyObject *)&PyType_Type};
    for (size_t k = 0; k < sizeof(singletons) / sizeof(singletons[0]); k++) {
        protect(singletons[k]);
    }
    for (long k = FIRST_INT; k <= LAST_INT; k++) {
        if (protect_new(PyLong_FromLong(k)) < 0) {
            return -1;
        }
    }
    for (int k = 0; k < CHARACTERS; k++) {
        char byte = (char)k;
        if (protect_new(PyUnicode_FromOrdinal(k)) < 0 || protect_new(PyBytes_FromStringAndSize(&byte, 1)) < 0) {
            return -1;
        }
    }
    if (protect_new(PyUnicode_FromStringAndSize(NULL, 0)) < 0 || protect_new(PyBytes_FromStringAndSize(NULL, 0)) < 0
        || protect_new(PyTuple_New(0)) < 0) {
        return -1;
    }
    return protect_class((PyObject *)&PyBaseObject_Type);
}

#else

int
owngil_immortal_refcounts_protect(void)
{
    return 0;
}

#endif
