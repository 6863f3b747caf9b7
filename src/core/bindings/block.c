/* owngil._core.Block: a process-wide block seen from one interpreter, through the buffer protocol. */
#include "bindings/block.h"

#include "memory/block.h"
#include "memory/lease.h"
#include "memory/numpy_allocator.h"

#include <string.h>

/* Below this, letting go of the GIL costs more than the copy. */
enum { COPY_WITHOUT_GIL = 1 << 18 };

typedef struct {
    PyObject_HEAD
    owngil_refcounted *shared;
    bool writable; /* of this view; the memory may have no owner among the interpreters */
} block_object;

PyObject *
owngil_block_wrap(owngil_state *state, owngil_refcounted *shared, bool writable)
{
    PyObject *self = owngil_wrap(state->block_type, shared);
    if (self != NULL) {
        ((block_object *)self)->writable = writable || ((owngil_block *)shared)->is_writable;
    }
    return self;
}

/* memcpy(), of much without the GIL. Needs the GIL; both memories must stay meanwhile. */
static void
copy(void *target, const void *source, size_t size)
{
    if (size >= COPY_WITHOUT_GIL) {
        Py_BEGIN_ALLOW_THREADS
        memcpy(target, source, size);
        Py_END_ALLOW_THREADS
    }
    else if (size > 0) {
        memcpy(target, source, size);
    }
}

/* Block(data, /, lend=False): a copy of a contiguous buffer in memory that belongs to the process; or with `lend`, in
 * the main interpreter, that buffer itself, which its object keeps until the last reference to the block is gone. The
 * block itself is read-only; the one that a receiver gets may be writable. */
static PyObject *
block_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *data;
    int lend = 0;
    static char *names[] = {"", "lend", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|p:Block", names, &data, &lend)) {
        return NULL;
    }
    if (lend && PyInterpreterState_Get() == PyInterpreterState_Main()) {
        owngil_block *lent = owngil_lease_new(data);
        return lent == NULL ? NULL : owngil_block_wrap(owngil_state_of(type), &lent->base, false);
    }
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_ANY_CONTIGUOUS) < 0) {
        return NULL;
    }
    owngil_block *block = owngil_block_new((size_t)view.len);
    if (block == NULL) {
        PyBuffer_Release(&view);
        return PyErr_NoMemory();
    }
    copy(block->data, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return owngil_block_wrap(owngil_state_of(type), &block->base, false);
}

/* zeros(size, /): return a block of so many zeros that every interpreter may write: a shared array's memory. */
static PyObject *
block_zeros(PyObject *type, PyObject *size)
{
    size_t count = PyLong_AsSize_t(size);
    if (count == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    owngil_block *block = owngil_block_new_zeros(count);
    if (block == NULL) {
        return PyErr_NoMemory();
    }
    return owngil_block_wrap(owngil_state_of((PyTypeObject *)type), &block->base, true);
}

/* of_array(start, data, /): return the block of a contiguous buffer that lies in an array whose memory at the address
 * `start` use_array_memory() gave, without a copy; or None if it does not lie in there. */
static PyObject *
block_of_array(PyObject *type, PyObject *args)
{
    unsigned long long start;
    PyObject *data;
    if (!PyArg_ParseTuple(args, "KO:of_array", &start, &data)) {
        return NULL;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_ANY_CONTIGUOUS) < 0) {
        return NULL;
    }
    owngil_block *block = owngil_numpy_allocator_block((void *)(uintptr_t)start, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    if (block == NULL) {
        Py_RETURN_NONE;
    }
    return owngil_block_wrap(owngil_state_of((PyTypeObject *)type), &block->base, false);
}

/* copy_to(start, target, /): copy what the block has from `start` on into a writable buffer, as much as fits, and
 * return how many bytes that were. Nobody else may have the buffer yet: a long copy lets go of the GIL. */
static PyObject *
block_copy_to(PyObject *self, PyObject *args)
{
    Py_ssize_t start;
    Py_buffer target;
    owngil_block *block = (owngil_block *)((block_object *)self)->shared;
    if (!PyArg_ParseTuple(args, "nw*:copy_to", &start, &target)) {
        return NULL;
    }
    size_t count = 0;
    if (start >= 0 && (size_t)start < block->size) {
        size_t left = block->size - (size_t)start;
        count = left < (size_t)target.len ? left : (size_t)target.len;
        copy(target.buf, (char *)block->data + start, count);
    }
    PyBuffer_Release(&target);
    return PyLong_FromSize_t(count);
}

/* part(data, /): return the block of a contiguous buffer that lies in this one, without a copy; or None if it does not
 * lie in there. */
static PyObject *
block_part(PyObject *self, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_ANY_CONTIGUOUS) < 0) {
        return NULL;
    }
    owngil_block *part = owngil_block_part((owngil_block *)((block_object *)self)->shared, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    if (part == NULL) {
        Py_RETURN_NONE;
    }
    return owngil_block_wrap(owngil_state_of(Py_TYPE(self)), &part->base, false);
}

static int
block_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    block_object *self = (block_object *)op;
    owngil_block *block = (owngil_block *)self->shared;
    return PyBuffer_FillInfo(view, op, block->data, (Py_ssize_t)block->size, !self->writable, flags);
}

static Py_ssize_t
block_length(PyObject *op)
{
    return (Py_ssize_t)((owngil_block *)((block_object *)op)->shared)->size;
}

static PyMethodDef block_methods[] = {
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {"part", block_part, METH_O, NULL},
    {"copy_to", block_copy_to, METH_VARARGS, NULL},
    {"zeros", block_zeros, METH_O | METH_CLASS, NULL},
    {"of_array", block_of_array, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
block_get_shared(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((owngil_block *)((block_object *)self)->shared)->is_writable);
}

static PyGetSetDef block_getset[] = {
    {"shared", block_get_shared, NULL, "Whether every interpreter may write.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot block_slots[] = {
    {Py_tp_new, block_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, block_methods},
    {Py_tp_getset, block_getset},
    {Py_bf_getbuffer, block_getbuffer},
    {Py_sq_length, block_length},
    {0, NULL},
};

OWNGIL_DEFINE_TYPE(block, "owngil._core.Block", block_object, 0, block_slots, block_type)
