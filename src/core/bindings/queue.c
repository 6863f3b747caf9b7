/* owngil._core.Queue: a process-wide queue seen from one interpreter. */
#include "bindings/queue.h"

#include "bindings/args.h"
#include "bindings/future.h"
#include "bindings/parts.h"
#include "bindings/raise.h"
#include "bindings/transfer.h"
#include "bindings/wait.h"
#include "memory/lease.h"
#include "tracing/events.h"

static owngil_queue *
queue_of(PyObject *self)
{
    return (owngil_queue *)((owngil_wrapper *)self)->shared;
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
    if (PyErr_Occurred() || owngil_args_timeout(count > 3 ? args[3] : NULL, &deadline) < 0) {
        return NULL;
    }
    owngil_message *message = owngil_parts_to_message(state, kind, id, args[2]);
    PyObject *wrapper = message != NULL ? owngil_wrap(state->message_type, &message->base) : NULL;
    if (wrapper == NULL) {
        return NULL;
    }
    owngil_queue *queue = queue_of(self);
    if (queue->last_first) { /* of tasks */
        owngil_events_send(queue, message);
    }
    /* Nearly always there is room: then nobody else need get the GIL. */
    owngil_status code = owngil_queue_put(queue, message, OWNGIL_DEADLINE_NOW);
    int again = 0;
    if (code == OWNGIL_TIMEOUT && deadline != OWNGIL_DEADLINE_NOW) {
        do {
            owngil_wait_begin();
            Py_BEGIN_ALLOW_THREADS
            code = owngil_queue_put(queue, message, deadline);
            Py_END_ALLOW_THREADS
            again = owngil_wait_end(code);
        } while (again > 0);
    }
    if (again < 0 || code != OWNGIL_OK || owngil_future_set_message(state, count > 4 ? args[4] : NULL, wrapper) < 0) {
        Py_DECREF(wrapper);
        return again < 0 || code == OWNGIL_OK ? NULL : owngil_raise_status(code, state->queue_closed);
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
    owngil_message *message = owngil_parts_to_message(state, kind, id, parts);
    PyObject *wrapper = message != NULL ? owngil_wrap(state->message_type, &message->base) : NULL;
    if (wrapper == NULL) {
        return NULL;
    }
    owngil_events_send(queue_of(self), message);
    owngil_status code = owngil_queue_put_for(queue_of(self), receiver + 1, message);
    if (code != OWNGIL_OK || owngil_future_set_message(state, future, wrapper) < 0) {
        Py_DECREF(wrapper);
        return code == OWNGIL_OK ? NULL : owngil_raise_status(code, state->queue_closed);
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
owngil_queue_wait(owngil_queue *queue, uint64_t receiver, owngil_message **message, owngil_deadline deadline,
                  PyObject *closed)
{
    /* What is there already is had without letting go of the GIL, for which others wait. */
    owngil_status code = owngil_queue_get(queue, receiver, message, OWNGIL_DEADLINE_NOW);
    int again = 0;
    if (code == OWNGIL_TIMEOUT && deadline != OWNGIL_DEADLINE_NOW) {
        do {
            owngil_wait_begin();
            Py_BEGIN_ALLOW_THREADS
            code = owngil_queue_get(queue, receiver, message, deadline);
            Py_END_ALLOW_THREADS
            again = owngil_wait_end(code);
        } while (again > 0);
    }
    owngil_lease_collect();
    if (again == 0 && code != OWNGIL_OK) {
        owngil_raise_status(code, closed);
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
    if (writable < 0 || owngil_args_timeout(count > 0 ? args[0] : NULL, &deadline) < 0) {
        return NULL;
    }
    owngil_message *message = NULL;
    if (owngil_queue_wait(queue_of(self), 0, &message, deadline, state->queue_closed) < 0) {
        return NULL;
    }
    PyObject *parts = owngil_parts_from_message(state, message, writable != 0);
    PyObject *result =
        parts == NULL ? NULL : Py_BuildValue("iKN", message->kind, (unsigned long long)message->id, parts);
    if (result == NULL) { /* no memory: it must not be lost */
        owngil_queue_put_back(queue_of(self), message);
        return NULL;
    }
    owngil_message_clear(message);
    owngil_refcount_release(&message->base);
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
    owngil_events_receive(queue_of(self), 0, since);
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

static PyType_Slot queue_slots[] = {
    {Py_tp_doc, (void *)queue_doc},
    {Py_tp_new, queue_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_richcompare, owngil_wrapper_compare},
    {Py_tp_hash, owngil_wrapper_hash},
    {Py_sq_length, queue_length},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "owngil._core.Queue",
    .basicsize = sizeof(owngil_wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = queue_slots,
};

int
owngil_add_queue(PyObject *module, owngil_state *state)
{
    return owngil_wrapper_add_type(module, &spec, &state->queue_type);
}
