/* owngil._core.Queue: a process-wide queue seen from one interpreter, and how messages are made of Python objects. */
#include "memory/block.h"
#include "memory/lease.h"
#include "bindings/state.h"
#include "tracing/events.h"

#include <stdint.h>
#include <string.h>

static owngil_queue *
queue_of(PyObject *self)
{
    return (owngil_queue *)((owngil_wrapper *)self)->shared;
}

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
wrap_part(owngil_state *state, owngil_shared *shared, bool writable)
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
owngil_message_from_parts(owngil_state *state, int kind, uint64_t id, PyObject *parts)
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
                owngil_shared_release(&message->base);
                return NULL;
            }
            memcpy(block->data, PyBytes_AS_STRING(part), (size_t)PyBytes_GET_SIZE(part));
            message->parts[k] = &block->base;
            continue;
        }
        if (!is_part(state, part)) {
            PyErr_Format(PyExc_TypeError, "a part of a message must be a Block, bytes or a handle, not %.200s",
                         Py_TYPE(part)->tp_name);
            owngil_shared_release(&message->base);
            return NULL;
        }
        message->parts[k] = ((owngil_wrapper *)part)->shared;
        owngil_shared_acquire(message->parts[k]);
    }
    return message;
}

PyObject *
owngil_message_to_parts(owngil_state *state, const owngil_message *message, bool writable)
{
    PyObject *parts = PyTuple_New((Py_ssize_t)message->count);
    if (parts == NULL) {
        return NULL;
    }
    for (size_t k = 0; k < message->count; k++) {
        owngil_shared *shared = message->parts[k];
        PyObject *part;
        if (k == 0 && shared->kind == OWNGIL_KIND_BLOCK && ((owngil_block *)shared)->size < SMALL) {
            const owngil_block *block = (owngil_block *)shared;
            part = PyBytes_FromStringAndSize(block->data, (Py_ssize_t)block->size);
        }
        else {
            owngil_shared_acquire(shared);
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

PyDoc_STRVAR(queue_doc,
"Queue(maxsize=0, last_first=False)\n--\n\n"
"A queue of messages that belongs to the process; 0 means that it never is full. Of several receivers that wait, the one\n"
"that came first is served first, or the one that came last.");

static PyObject *
queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t maxsize = 0;
    int last_first = 0;
    static char *names[] = {"maxsize", "last_first", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|np:Queue", names, &maxsize, &last_first)) {
        return NULL;
    }
    if (maxsize < 0) {
        PyErr_Format(PyExc_ValueError, "maxsize must be 0 (unbounded) or more, not %zd", maxsize);
        return NULL;
    }
    owngil_queue *queue = owngil_queue_new((size_t)maxsize, last_first != 0);
    if (queue == NULL) {
        return PyErr_NoMemory();
    }
    return owngil_wrap(type, &queue->base);
}

PyDoc_STRVAR(queue_put_doc,
"put(kind, id, parts, timeout=None, future=None, /)\n--\n\n"
"Append a message made of blocks, handles and bytes (which are copied), and return it; wait while the queue is full.\n\n"
"A `future` has it as its `_message` before a signal's handler can run.");

static PyObject *
queue_put(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    owngil_deadline deadline;
    owngil_state *state = owngil_state_of(Py_TYPE(self));
    if (count < 3 || count > 5) {
        PyErr_Format(PyExc_TypeError, "put() takes 3 to 5 arguments, not %zd", count);
        return NULL;
    }
    int kind = PyLong_AsInt(args[0]);
    uint64_t id = PyLong_AsUnsignedLongLong(args[1]);
    if (PyErr_Occurred() || owngil_deadline_from_object(count > 3 ? args[3] : NULL, &deadline) < 0) {
        return NULL;
    }
    owngil_message *message = owngil_message_from_parts(state, kind, id, args[2]);
    PyObject *wrapper = message != NULL ? owngil_wrap(state->message_type, &message->base) : NULL;
    if (wrapper == NULL) {
        return NULL;
    }
    owngil_queue *queue = queue_of(self);
    if (queue->last_first) { /* of tasks */
        owngil_observe_send(queue, message);
    }
    /* Nearly always there is room: then nobody else need get the GIL. */
    owngil_code code = owngil_queue_put(queue, message, &owngil_deadline_now);
    int again = 0;
    if (code == OWNGIL_TIMEOUT && !owngil_deadline_is_now(&deadline)) {
        do {
            owngil_wait_begin();
            Py_BEGIN_ALLOW_THREADS
            code = owngil_queue_put(queue, message, &deadline);
            Py_END_ALLOW_THREADS
            again = owngil_wait_end(code);
        } while (again > 0);
    }
    if (again < 0 || code != OWNGIL_OK || owngil_message_note(state, count > 4 ? args[4] : NULL, wrapper) < 0) {
        Py_DECREF(wrapper);
        return again < 0 || code == OWNGIL_OK ? NULL : owngil_errors_raise(code, state->queue_closed);
    }
    return wrapper;
}

PyDoc_STRVAR(queue_put_for_doc,
"put_for(receiver, kind, id, parts, future=None, /)\n--\n\n"
"Put a message that only the worker with the number `receiver` gets, before all others, and return it; see `put`.");

static PyObject *
queue_put_for(PyObject *self, PyObject *args)
{
    unsigned long long receiver, id;
    int kind;
    PyObject *parts, *future = NULL;
    if (!PyArg_ParseTuple(args, "KiKO|O:put_for", &receiver, &kind, &id, &parts, &future)) {
        return NULL;
    }
    owngil_state *state = owngil_state_of(Py_TYPE(self));
    owngil_message *message = owngil_message_from_parts(state, kind, id, parts);
    PyObject *wrapper = message != NULL ? owngil_wrap(state->message_type, &message->base) : NULL;
    if (wrapper == NULL) {
        return NULL;
    }
    owngil_observe_send(queue_of(self), message);
    owngil_code code = owngil_queue_put_for(queue_of(self), receiver + 1, message);
    if (code != OWNGIL_OK || owngil_message_note(state, future, wrapper) < 0) {
        Py_DECREF(wrapper);
        return code == OWNGIL_OK ? NULL : owngil_errors_raise(code, state->queue_closed);
    }
    return wrapper;
}

PyDoc_STRVAR(queue_readdress_doc,
"readdress(gone, receiver, /)\n--\n\n"
"Let the worker `receiver` have the messages that were put for `gone`.");

static PyObject *
queue_readdress(PyObject *self, PyObject *args)
{
    unsigned long long from, to;
    if (!PyArg_ParseTuple(args, "KK:readdress", &from, &to)) {
        return NULL;
    }
    owngil_queue_readdress(queue_of(self), from + 1, to + 1);
    Py_RETURN_NONE;
}

int
owngil_queue_wait(owngil_queue *queue, uint64_t receiver, owngil_message **message, const owngil_deadline *deadline,
                  PyObject *closed)
{
    /* What is there already is had without letting go of the GIL, for which others wait. */
    owngil_code code = owngil_queue_get_for(queue, receiver, message, &owngil_deadline_now);
    int again = 0;
    if (code == OWNGIL_TIMEOUT && !owngil_deadline_is_now(deadline)) {
        do {
            owngil_wait_begin();
            Py_BEGIN_ALLOW_THREADS
            code = owngil_queue_get_for(queue, receiver, message, deadline);
            Py_END_ALLOW_THREADS
            again = owngil_wait_end(code);
        } while (again > 0);
    }
    owngil_lease_settle();
    if (again == 0 && code != OWNGIL_OK) {
        owngil_errors_raise(code, closed);
    }
    return again == 0 && code == OWNGIL_OK ? 0 : -1;
}

PyDoc_STRVAR(queue_get_doc,
"get(timeout=None, writable=False, /)\n--\n\n"
"Wait for a message and return (kind, id, parts).\n\n"
"`writable` says what the receiver may do to the blocks among the parts.");

static PyObject *
queue_get(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    owngil_deadline deadline;
    owngil_state *state = owngil_state_of(Py_TYPE(self));
    if (count > 2) {
        PyErr_Format(PyExc_TypeError, "get() takes at most 2 arguments, not %zd", count);
        return NULL;
    }
    int writable = count > 1 ? PyObject_IsTrue(args[1]) : 0;
    if (writable < 0 || owngil_deadline_from_object(count > 0 ? args[0] : NULL, &deadline) < 0) {
        return NULL;
    }
    owngil_message *message = NULL;
    if (owngil_queue_wait(queue_of(self), 0, &message, &deadline, state->queue_closed) < 0) {
        return NULL;
    }
    PyObject *parts = owngil_message_to_parts(state, message, writable != 0);
    PyObject *result =
        parts == NULL ? NULL : Py_BuildValue("iKN", message->kind, (unsigned long long)message->id, parts);
    if (result == NULL) { /* no memory: it must not be lost */
        owngil_queue_put_back(queue_of(self), message);
        return NULL;
    }
    owngil_message_clear(message);
    owngil_shared_release(&message->base);
    return result;
}

PyDoc_STRVAR(queue_receive_doc,
"receive(timeout=None, /)\n--\n\n"
"Wait for a message and return a Transfer that has it.");

PyDoc_STRVAR(queue_begin_receive_doc,
"begin_receive(wakeup, key, /)\n--\n\n"
"Return a Transfer that has a message or will have one: then `wakeup` tells `key` when it is done.");

PyDoc_STRVAR(queue_begin_send_doc,
"begin_send(wakeup, key, parts, /)\n--\n\n"
"Send a message made of blocks and queues as soon as there is room, and return a Transfer; see begin_receive.");

PyDoc_STRVAR(queue_spend_doc,
"spend(since, /)\n--\n\n"
"Add the time since then, by time.monotonic_ns(), to what the queue's users have spent on writing or rebuilding messages.");

static PyObject *
queue_spend(PyObject *self, PyObject *argument)
{
    long long since = PyLong_AsLongLong(argument);
    if (since == -1 && PyErr_Occurred()) {
        return NULL;
    }
    owngil_observe_receive(queue_of(self), 0, since);
    Py_RETURN_NONE;
}

static PyObject *
queue_get_spent(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(atomic_load_explicit(&queue_of(self)->spent, memory_order_relaxed));
}

PyDoc_STRVAR(queue_close_doc,
"close()\n--\n\n"
"Take no more messages; whoever waits is woken with QueueClosed.");

static PyObject *
queue_close(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_queue_close(queue_of(self));
    Py_RETURN_NONE;
}

static PyObject *
queue_get_closed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(owngil_queue_is_closed(queue_of(self)));
}

static Py_ssize_t
queue_length(PyObject *self)
{
    return (Py_ssize_t)owngil_queue_length(queue_of(self));
}

static PyMethodDef queue_methods[] = {
    {"put", (PyCFunction)(void (*)(void))queue_put, METH_FASTCALL, queue_put_doc},
    {"put_for", queue_put_for, METH_VARARGS, queue_put_for_doc},
    {"readdress", queue_readdress, METH_VARARGS, queue_readdress_doc},
    {"get", (PyCFunction)(void (*)(void))queue_get, METH_FASTCALL, queue_get_doc},
    {"receive", (PyCFunction)(void (*)(void))owngil_queue_receive, METH_FASTCALL, queue_receive_doc},
    {"begin_receive", (PyCFunction)(void (*)(void))owngil_queue_begin_receive, METH_FASTCALL, queue_begin_receive_doc},
    {"begin_send", (PyCFunction)(void (*)(void))owngil_queue_begin_send, METH_FASTCALL, queue_begin_send_doc},
    {"spend", queue_spend, METH_O, queue_spend_doc},
    {"close", queue_close, METH_NOARGS, queue_close_doc},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef queue_getset[] = {
    {"closed", queue_get_closed, NULL, "Whether close() was called.", NULL},
    {"spent", queue_get_spent, NULL, "Nanoseconds; see spend().", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* Equal wrappers are those of one queue: wrappers come and go, the queue stays. */
static PyObject *
queue_richcompare(PyObject *self, PyObject *other, int op)
{
    if (!Py_IS_TYPE(other, Py_TYPE(self)) || (op != Py_EQ && op != Py_NE)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    bool same = queue_of(self) == queue_of(other);
    return PyBool_FromLong(same == (op == Py_EQ));
}

static Py_hash_t
queue_hash(PyObject *self)
{
    Py_hash_t hash = (Py_hash_t)((uintptr_t)queue_of(self) >> 4);
    return hash == -1 ? -2 : hash;
}

static PyType_Slot queue_slots[] = {
    {Py_tp_doc, (void *)queue_doc},
    {Py_tp_new, queue_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_richcompare, queue_richcompare},
    {Py_tp_hash, queue_hash},
    {Py_sq_length, queue_length},
    {0, NULL},
};

PyType_Spec owngil_queue_spec = {
    .name = "owngil._core.Queue",
    .basicsize = sizeof(owngil_wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = queue_slots,
};
