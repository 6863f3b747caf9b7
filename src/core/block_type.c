/* owngil._core.Block: a process-wide block seen from one interpreter, through the buffer protocol. */
#include "array_memory.h"
#include "block.h"
#include "lease.h"
#include "module.h"

#include <string.h>

/* Below this, letting go of the GIL costs more than the copy. */
enum { COPY_WITHOUT_GIL = 1 << 18 };

typedef struct {
    PyObject_HEAD
    owngil_shared *shared;
    bool writable; /* of this view; the memory has no owner among the interpreters */
} block_object;

PyObject *
owngil_block_wrap(owngil_state *state, owngil_shared *shared, bool writable)
{
    PyObject *self = owngil_wrap(state->block_type, shared);
    if (self != NULL) {
        ((block_object *)self)->writable = writable;
    }
    return self;
}

PyDoc_STRVAR(block_doc,
"Block(data, /, lend=False)\n--\n\n"
"A copy of a contiguous buffer in memory that belongs to the process; or with `lend`, in the main interpreter, that buffer\n"
"itself, which its object keeps until the last reference to the block is gone.\n\n"
"The block itself is read-only; the one that a receiver gets may be writable.");

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
    if (view.len >= COPY_WITHOUT_GIL) {
        Py_BEGIN_ALLOW_THREADS
        memcpy(block->data, view.buf, (size_t)view.len);
        Py_END_ALLOW_THREADS
    }
    else if (view.len > 0) {
        memcpy(block->data, view.buf, (size_t)view.len);
    }
    PyBuffer_Release(&view);
    return owngil_block_wrap(owngil_state_of(type), &block->base, false);
}

PyDoc_STRVAR(of_array_doc,
"of_array(start, data, /)\n--\n\n"
"Return the block of a contiguous buffer that lies in an array whose memory at the address `start` use_array_memory() gave,\n"
"without a copy; or None if it does not lie in there.");

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
    owngil_block *block = owngil_array_memory_block((void *)(uintptr_t)start, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    if (block == NULL) {
        Py_RETURN_NONE;
    }
    return owngil_block_wrap(owngil_state_of((PyTypeObject *)type), &block->base, false);
}

PyDoc_STRVAR(part_doc,
"part(data, /)\n--\n\n"
"Return the block of a contiguous buffer that lies in this one, without a copy; or None if it does not lie in there.");

static PyObject *
block_part(PyObject *self, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_ANY_CONTIGUOUS) < 0) {
        return NULL;
    }
    owngil_block *part =
        owngil_block_part((owngil_block *)((block_object *)self)->shared, view.buf, (size_t)view.len);
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
    {"part", block_part, METH_O, part_doc},
    {"of_array", block_of_array, METH_VARARGS | METH_CLASS, of_array_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot block_slots[] = {
    {Py_tp_doc, (void *)block_doc},
    {Py_tp_new, block_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, block_methods},
    {Py_bf_getbuffer, block_getbuffer},
    {Py_sq_length, block_length},
    {0, NULL},
};

PyType_Spec owngil_block_spec = {
    .name = "owngil._core.Block",
    .basicsize = sizeof(block_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = block_slots,
};
