#include "bindings/parts.h"

#include "bindings/block.h"
#include "memory/block.h"

#include <string.h>

/* A first part below this size, which is the pickle of a small object, is copied, not wrapped. */
enum { SMALL = 1024 };

/* Whether the object is a Block, a queue, or an object to synchronize with. */
static bool
is_wrapped_part(const owngil_state *state, PyObject *object)
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

/* Returns the object that the part wraps, or a new block with a copy of bytes; or NULL with the exception set. The
 * caller owns the reference. */
static owngil_refcounted *
unwrap_part(const owngil_state *state, PyObject *part)
{
    if (PyBytes_CheckExact(part)) {
        owngil_block *block = owngil_block_new((size_t)PyBytes_GET_SIZE(part));
        if (block == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        memcpy(block->data, PyBytes_AS_STRING(part), (size_t)PyBytes_GET_SIZE(part));
        return &block->base;
    }
    if (!is_wrapped_part(state, part)) {
        PyErr_Format(PyExc_TypeError, "a part of a message must be a Block, bytes or a handle, not %.200s",
                     Py_TYPE(part)->tp_name);
        return NULL;
    }
    owngil_refcounted *shared = ((owngil_wrapper *)part)->shared;
    owngil_refcount_acquire(shared);
    return shared;
}

PyObject *
owngil_parts_wrap(owngil_state *state, owngil_refcounted *part, bool writable)
{
    owngil_refcount_acquire(part);
    if (part->kind == OWNGIL_KIND_BLOCK) {
        return owngil_block_wrap(state, part, writable);
    }
    bool is_sync = part->kind >= OWNGIL_KIND_LOCK && part->kind <= OWNGIL_KIND_COUNTER;
    return owngil_wrap(is_sync ? state->sync_types[part->kind - OWNGIL_KIND_LOCK] : state->queue_type, part);
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
        message->parts[k] = unwrap_part(state, PyTuple_GET_ITEM(parts, k));
        if (message->parts[k] == NULL) {
            owngil_refcount_release(&message->base);
            return NULL;
        }
    }
    return message;
}

PyObject *
owngil_parts_from_message(owngil_state *state, const owngil_message *message, bool writable)
{
    PyObject *parts = PyTuple_New((Py_ssize_t)message->count);
    for (size_t k = 0; parts != NULL && k < message->count; k++) {
        owngil_refcounted *shared = message->parts[k];
        const owngil_block *block = k == 0 && shared->kind == OWNGIL_KIND_BLOCK ? (owngil_block *)shared : NULL;
        PyObject *part = block != NULL && block->size < SMALL
                             ? PyBytes_FromStringAndSize(block->data, (Py_ssize_t)block->size)
                             : owngil_parts_wrap(state, shared, writable);
        PyTuple_SET_ITEM(parts, (Py_ssize_t)k, part);
        if (part == NULL) {
            Py_CLEAR(parts);
        }
    }
    return parts;
}
