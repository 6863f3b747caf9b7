/* A wrapper: the Python object by which one interpreter sees an object of the process. All functions need the GIL. */
#pragma once

#include "bindings/state.h"

/* Every wrapper starts like this. */
typedef struct {
    PyObject_HEAD
    owngil_refcounted *shared; /* owned; never NULL once the wrapper is made */
} owngil_wrapper;

/* The wrapped object. */
#define OWNGIL_UNWRAP(type, self) ((type *)((owngil_wrapper *)(self))->shared)

/* Defines owngil_add_<name>(), which makes a type, adds it to the module, and keeps it in a field of the state. */
#define OWNGIL_DEFINE_TYPE(name, full_name, object, more_flags, type_slots, field) \
    int owngil_add_##name(PyObject *module, owngil_state *state) \
    { \
        static PyType_Spec spec = {full_name, sizeof(object), 0, \
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | (more_flags), type_slots}; \
        return owngil_wrapper_add_type(module, &spec, &state->field); \
    }

/* Each defines a function of a type, in which `self` is the wrapped object: a getter, or a method without arguments,
 * that returns convert(value); and a method without arguments that calls function(self) and returns None. */
#define OWNGIL_DEFINE_GETTER(name, type, convert, value) \
    static PyObject *name(PyObject *wrapper, void *Py_UNUSED(closure)) \
    { \
        type *self = OWNGIL_UNWRAP(type, wrapper); \
        return convert(value); \
    }
#define OWNGIL_DEFINE_METHOD(name, type, convert, value) \
    static PyObject *name(PyObject *wrapper, PyObject *Py_UNUSED(unused)) \
    { \
        type *self = OWNGIL_UNWRAP(type, wrapper); \
        return convert(value); \
    }
#define OWNGIL_DEFINE_ACTION(name, type, function) \
    static PyObject *name(PyObject *wrapper, PyObject *Py_UNUSED(unused)) \
    { \
        function(OWNGIL_UNWRAP(type, wrapper)); \
        Py_RETURN_NONE; \
    }

/* clang-format off */
/* Slots of a handle, a wrapper that is equal to all others of the same object: wrappers come and go, the object
 * stays. */
#define OWNGIL_HANDLE_SLOTS \
    {Py_tp_dealloc, owngil_wrapper_dealloc}, {Py_tp_richcompare, owngil_wrapper_compare}, \
    {Py_tp_hash, owngil_wrapper_hash}
/* clang-format on */

int owngil_wrapper_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type);

/* Returns a new wrapper that takes over the reference to `shared`, even when it fails. For a `shared` of NULL, sets
 * MemoryError. */
PyObject *owngil_wrap(PyTypeObject *type, owngil_refcounted *shared);

/* tp_dealloc of the wrappers. */
void owngil_wrapper_dealloc(PyObject *self);

/* __reduce__ of the wrappers: raises TypeError, because an object of this process cannot be written down. */
PyObject *owngil_wrapper_reduce(PyObject *self, PyObject *unused);

PyObject *owngil_wrapper_compare(PyObject *self, PyObject *other, int op);
Py_hash_t owngil_wrapper_hash(PyObject *self);
