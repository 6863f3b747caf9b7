#include "bindings/parts.h"

#include "bindings/block.h"
#include "memory/block.h"

#include <string.h>

/* A first part below this size, which is the pickle of something small, is rather copied than wrapped. */
enum { SMALL = 1024 };

static bool
is_part(const owngil_state *state, PyObject *object)
{
    if (Py_IS_TYPE(object, state->block_type) || Py_IS_TYPE(object, state->queue_type)) {
        return true;
    }
    for (size_t k = 0; k < OWNGIL_SYNC_TYPES; k++) {
        if (Py_IS_TYPE(object, state->sync_types[k])) {
            return true;
        }
    }
    return false;
}

/* Takes over the reference to `shared`, even when it fails. */
static PyObject *
wrap_part(owngil_state *state, owngil_refcounted *shared, bool writable)
{
    switch (shared->kind) {
    case OWNGIL_KIND_BLOCK:
        return owngil_block_wrap(state, shared, writable);
    case OWNGIL_KIND_LOCK:
    case OWNGIL_KIND_SEMAPHORE:
    case OWNGIL_KIND_BOUNDED_SEMAPHORE:
    case OWNGIL_KIND_EVENT:
    case OWNGIL_KIND_BARRIER:
    case OWNGIL_KIND_COUNTER:
        return owngil_wrap(state->sync_types[shared->kind - OWNGIL_KIND_LOCK], shared);
    default:
        return owngil_wrap(state->queue_type, shared);
    }
}

owngil_message *
owngil_parts_to_message(owngil_state *state, int kind, uint64_t id, PyObject *parts)
{
    if (!PyTuple_Check(parts)) {
        PyErr_Format(PyExc_TypeError, "the parts of a message must be a tuple, not %.200s", Py_TYPE(parts)->tp_name);
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(parts);
    owngil_message *message = owngil_message_new(kind, id, (size_t)count);
    if (message == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t k = 0; k < count; k++) {
        PyObject *part = PyTuple_GET_ITEM(parts, k);
        if (PyBytes_CheckExact(part)) {
            owngil_block *block = owngil_block_new((size_t)PyBytes_GET_SIZE(part));
            if (block == NULL) {
                PyErr_NoMemory();
                owngil_refcount_release(&message->base);
                return NULL;
            }
            memcpy(block->data, PyBytes_AS_STRING(part), (size_t)PyBytes_GET_SIZE(part));
            message->parts[k] = &block->base;
            continue;
        }
        if (!is_part(state, part)) {
            PyErr_Format(PyExc_TypeError, "a part of a message must be a Block, bytes or a handle, not %.200s",
                         Py_TYPE(part)->tp_name);
            owngil_refcount_release(&message->base);
            return NULL;
        }
        message->parts[k] = ((owngil_wrapper *)part)->shared;
        owngil_refcount_acquire(message->parts[k]);
    }
    return message;
}

PyObject *
owngil_parts_from_message(owngil_state *state, const owngil_message *message, bool writable)
{
    PyObject *parts = PyTuple_New((Py_ssize_t)message->count);
    if (parts == NULL) {
        return NULL;
    }
    for (size_t k = 0; k < message->count; k++) {
        owngil_refcounted *shared = message->parts[k];
        PyObject *part;
        if (k == 0 && shared->kind == OWNGIL_KIND_BLOCK && ((owngil_block *)shared)->size < SMALL) {
            const owngil_block *block = (owngil_block *)shared;
            part = PyBytes_FromStringAndSize(block->data, (Py_ssize_t)block->size);
        }
        else {
            owngil_refcount_acquire(shared);
            part = wrap_part(state, shared, writable);
        }
        if (part == NULL) {
            Py_DECREF(parts);
            return NULL;
        }
        PyTuple_SET_ITEM(parts, (Py_ssize_t)k, part);
    }
    return parts;
}
