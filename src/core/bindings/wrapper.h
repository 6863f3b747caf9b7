/* Wrappers: how one interpreter sees an object of the process. All needs the GIL. */
#pragma once

#include "bindings/state.h"

/* Every wrapper starts like this. */
typedef struct {
    PyObject_HEAD
    owngil_refcounted *shared; /* owned; never NULL once the wrapper is made */
} owngil_wrapper;

/* The wrapped object. */
#define OWNGIL_UNWRAP(type, self) ((type *)((owngil_wrapper *)(self))->shared)

/* Defines owngil_add_<which>(), which makes a type, adds it to the module, and keeps it in a field of the state. */
#define OWNGIL_DEFINE_TYPE(which, full_name, object, more_flags, type_slots, field) \
    int owngil_add_##which(PyObject *module, owngil_state *state) \
    { \
        static PyType_Spec spec = {.name = full_name, \
                                   .basicsize = sizeof(object), \
                                   .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | (more_flags), \
                                   .slots = type_slots}; \
        return owngil_wrapper_add_type(module, &spec, &state->field); \
    }

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
