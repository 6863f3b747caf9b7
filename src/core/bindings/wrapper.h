/* Wrappers: how one interpreter sees an object of the process. All needs the GIL. */
#ifndef OWNGIL_BINDINGS_WRAPPER_H
#define OWNGIL_BINDINGS_WRAPPER_H

#include "bindings/state.h"

/* Every wrapper starts like this. */
typedef struct {
    PyObject_HEAD
    owngil_refcounted *shared; /* owned; never NULL once the wrapper is made */
} owngil_wrapper;

/* Makes a type of the module, adds it, and stores it in *type. Returns 0, or -1 with an exception. */
int owngil_wrapper_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type);

/* Returns a new wrapper that takes over the reference to `shared`, even when it fails. */
PyObject *owngil_wrap(PyTypeObject *type, owngil_refcounted *shared);

/* tp_dealloc of the wrappers. */
void owngil_wrapper_dealloc(PyObject *self);

/* __reduce__ of the wrappers: what belongs to this process cannot be written down. */
PyObject *owngil_wrapper_reduce(PyObject *self, PyObject *unused);

/* Two wrappers are equal if they wrap the same object: wrappers come and go, the object stays. */
PyObject *owngil_wrapper_compare(PyObject *self, PyObject *other, int op);
Py_hash_t owngil_wrapper_hash(PyObject *self);

#endif
