#include "bindings/wrapper.h"

int
owngil_wrapper_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *type == NULL ? -1 : PyModule_AddType(module, *type);
}

PyObject *
owngil_wrap(PyTypeObject *type, owngil_refcounted *shared)
{
    owngil_wrapper *self = (owngil_wrapper *)type->tp_alloc(type, 0);
    if (self == NULL) {
        owngil_refcount_release(shared);
        return NULL;
    }
    self->shared = shared;
    return (PyObject *)self;
}

void
owngil_wrapper_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    owngil_refcount_release(((owngil_wrapper *)self)->shared);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject *
owngil_wrapper_reduce(PyObject *self, PyObject *Py_UNUSED(unused))
{
    PyErr_Format(PyExc_TypeError, "cannot pickle '%.200s': it belongs to this process and passes to workers only",
                 Py_TYPE(self)->tp_name);
    return NULL;
}

PyObject *
owngil_wrapper_compare(PyObject *self, PyObject *other, int op)
{
    if (!Py_IS_TYPE(other, Py_TYPE(self)) || (op != Py_EQ && op != Py_NE)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    bool same = ((owngil_wrapper *)self)->shared == ((owngil_wrapper *)other)->shared;
    return PyBool_FromLong(same == (op == Py_EQ));
}

Py_hash_t
owngil_wrapper_hash(PyObject *self)
{
    Py_hash_t hash = (Py_hash_t)((uintptr_t)((owngil_wrapper *)self)->shared >> 4);
    return hash == -1 ? -2 : hash;
}
