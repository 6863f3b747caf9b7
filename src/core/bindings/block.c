/* owngil._core.Block: a process-wide block seen from one interpreter, through the buffer protocol. */
#include "bindings/block.h"

#include "memory/block.h"
#include "memory/lease.h"
#include "memory/numpy_allocator.h"

#include <string.h>

/* For fewer bytes, to release the GIL costs more than to copy them. */
enum { COPY_WITHOUT_GIL = 1 << 18 };

typedef struct {
    owngil_wrapper wrapper;
    bool writable; /* whether buffers of this wrapper are */
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

/* Calls memcpy(); releases the GIL if there are many bytes. Needs the GIL; both memories must live meanwhile. */
static void
copy_bytes(void *target, const void *source, size_t size)
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

/* Block(data, /, lend=False): copy a contiguous buffer into memory that belongs to the process. With `lend`, in the
 * main interpreter, the block is that buffer itself, which its object keeps until the last reference to the block is
 * gone. The new Block is read-only; a receiver may get one that is writable. */
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
    copy_bytes(block->data, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return owngil_block_wrap(owngil_state_of(type), &block->base, false);
}

/* zeros(size, /): return a block of `size` zeros that every interpreter may write: the memory of a shared array. */
static PyObject *
block_zeros(PyObject *type, PyObject *size)
{
    size_t count = PyLong_AsSize_t(size);
    if (count == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    owngil_refcounted *block = (owngil_refcounted *)owngil_block_new_zeros(count);
    return owngil_block_wrap(owngil_state_of((PyTypeObject *)type), block, true);
}

/* Returns a new read-only wrapper that takes over the reference to `block`; or None for NULL. */
static PyObject *
wrap_or_none(PyTypeObject *type, owngil_block *block)
{
    return block != NULL ? owngil_block_wrap(owngil_state_of(type), &block->base, false) : Py_NewRef(Py_None);
}

/* of_array(start, data, /): return the block of a contiguous buffer, without a copy; or None if the buffer does not lie
 * in the memory at `start`, which an array has from the allocator of use_array_memory(). */
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
    return wrap_or_none((PyTypeObject *)type, block);
}

/* copy(/): return a block with the same bytes, which may be written to. */
static PyObject *
block_copy(PyObject *self, PyObject *Py_UNUSED(unused))
{
    const owngil_block *block = OWNGIL_UNWRAP(owngil_block, self);
    owngil_block *copy = owngil_block_new(block->size);
    if (copy == NULL) {
        return PyErr_NoMemory();
    }
    copy_bytes(copy->data, block->data, block->size);
    return owngil_block_wrap(owngil_state_of(Py_TYPE(self)), &copy->base, true);
}

/* copy_to(start, target, /): copy the bytes of the block from `start` on into a writable buffer, as many as fit, and
 * return their number. No other thread may use the buffer yet: a long copy releases the GIL. */
static PyObject *
block_copy_to(PyObject *self, PyObject *args)
{
    Py_ssize_t start;
    Py_buffer target;
    const owngil_block *block = OWNGIL_UNWRAP(owngil_block, self);
    if (!PyArg_ParseTuple(args, "nw*:copy_to", &start, &target)) {
        return NULL;
    }
    size_t count = 0;
    if (start >= 0 && (size_t)start < block->size) {
        size_t left = block->size - (size_t)start;
        count = left < (size_t)target.len ? left : (size_t)target.len;
        copy_bytes(target.buf, (char *)block->data + start, count);
    }
    PyBuffer_Release(&target);
    return PyLong_FromSize_t(count);
}

/* part(data, /): return the block of a contiguous buffer, without a copy; or None if the buffer does not lie in this
 * block. */
static PyObject *
block_part(PyObject *self, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_ANY_CONTIGUOUS) < 0) {
        return NULL;
    }
    owngil_block *whole = OWNGIL_UNWRAP(owngil_block, self);
    bool inside = owngil_block_contains(whole, view.buf, (size_t)view.len);
    owngil_block *part = owngil_block_part(whole, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    /* Without memory it must not become a block that is not shared. */
    return inside && part == NULL ? PyErr_NoMemory() : wrap_or_none(Py_TYPE(self), part);
}

static int
block_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    const owngil_block *block = OWNGIL_UNWRAP(owngil_block, self);
    return PyBuffer_FillInfo(view, self, block->data, (Py_ssize_t)block->size, !((block_object *)self)->writable,
                             flags);
}

static Py_ssize_t
block_length(PyObject *self)
{
    return (Py_ssize_t)OWNGIL_UNWRAP(owngil_block, self)->size;
}

static PyMethodDef block_methods[] = {
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS},
    {"part", block_part, METH_O},
    {"copy", block_copy, METH_NOARGS},
    {"copy_to", block_copy_to, METH_VARARGS},
    {"zeros", block_zeros, METH_O | METH_CLASS},
    {"of_array", block_of_array, METH_VARARGS | METH_CLASS},
    {NULL},
};

OWNGIL_DEFINE_GETTER(block_get_shared, owngil_block, PyBool_FromLong, self->is_writable)

static PyGetSetDef block_getset[] = {
    {"shared", block_get_shared, NULL, "Whether every interpreter may write."},
    {NULL},
};

static PyType_Slot block_slots[] = {
    {Py_tp_new, block_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, block_methods},
    {Py_tp_getset, block_getset},
    {Py_bf_getbuffer, block_getbuffer},
    {Py_sq_length, block_length},
    {0},
};

OWNGIL_DEFINE_TYPE(block, "owngil._core.Block", block_object, 0, block_slots, block_type)
