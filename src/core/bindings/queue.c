/* owngil._core.Queue: a process-wide queue seen from one interpreter. */
#include "bindings/args.h"
#include "bindings/future.h"
#include "bindings/parts.h"
#include "bindings/raise.h"
#include "bindings/transfer.h"
#include "bindings/wait.h"
#include "bindings/wrapper.h"
#include "tracing/events.h"

/* Queue(maxsize=0, last_first=False): a queue of messages that belongs to the process; 0 means that it never is full.
 * Of several receivers that wait, the one that came first is served first, or the one that came last. */
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

/* put(kind, id, parts, timeout=None, future=None, /): append a message made of blocks, handles and bytes (which are
 * copied), and return it; wait while the queue is full. A `future` has it as its `_message` before a signal's handler
 * can run. */
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
    owngil_queue *queue = OWNGIL_UNWRAP(owngil_queue, self);
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

/* put_for(receiver, kind, id, parts, future=None, /): put a message that only the worker with the number `receiver`
 * gets, before all others, and return it; see `put`. */
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
    owngil_events_send(OWNGIL_UNWRAP(owngil_queue, self), message);
    owngil_status code = owngil_queue_put_for(OWNGIL_UNWRAP(owngil_queue, self), receiver + 1, message);
    if (code != OWNGIL_OK || owngil_future_set_message(state, future, wrapper) < 0) {
        Py_DECREF(wrapper);
        return code == OWNGIL_OK ? NULL : owngil_raise_status(code, state->queue_closed);
    }
    return wrapper;
}

/* readdress(gone, receiver, /): let the worker `receiver` have the messages that were put for `gone`. */
static PyObject *
queue_readdress(PyObject *self, PyObject *args)
{
    unsigned long long from, to;
    if (!PyArg_ParseTuple(args, "KK:readdress", &from, &to)) {
        return NULL;
    }
    owngil_queue_readdress(OWNGIL_UNWRAP(owngil_queue, self), from + 1, to + 1);
    Py_RETURN_NONE;
}

/* get(timeout=None, writable=False, /): wait for a message and return (kind, id, parts). `writable` says what the
 * receiver may do to the blocks among the parts. */
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
    if (owngil_wait_for_message(OWNGIL_UNWRAP(owngil_queue, self), 0, &message, deadline, state->queue_closed) < 0) {
        return NULL;
    }
    PyObject *parts = owngil_parts_from_message(state, message, writable != 0);
    PyObject *result =
        parts == NULL ? NULL : Py_BuildValue("iKN", message->kind, (unsigned long long)message->id, parts);
    if (result == NULL) { /* no memory: it must not be lost */
        owngil_queue_put_back(OWNGIL_UNWRAP(owngil_queue, self), message);
        return NULL;
    }
    owngil_message_clear(message);
    owngil_refcount_release(&message->base);
    return result;
}

/* spend(since, /): add the time since then, by time.monotonic_ns(), to what the queue's users have spent on writing or
 * rebuilding messages. */
static PyObject *
queue_spend(PyObject *self, PyObject *argument)
{
    long long since = PyLong_AsLongLong(argument);
    if (since == -1 && PyErr_Occurred()) {
        return NULL;
    }
    owngil_events_receive(OWNGIL_UNWRAP(owngil_queue, self), 0, since);
    Py_RETURN_NONE;
}

static PyObject *
queue_get_spent(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(atomic_load_explicit(&OWNGIL_UNWRAP(owngil_queue, self)->spent, memory_order_relaxed));
}

/* close(): take no more messages; whoever waits is woken with QueueClosed. */
static PyObject *
queue_close(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_queue_close(OWNGIL_UNWRAP(owngil_queue, self));
    Py_RETURN_NONE;
}

static PyObject *
queue_get_closed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(owngil_queue_is_closed(OWNGIL_UNWRAP(owngil_queue, self)));
}

static Py_ssize_t
queue_length(PyObject *self)
{
    return (Py_ssize_t)owngil_queue_length(OWNGIL_UNWRAP(owngil_queue, self));
}

static PyMethodDef queue_methods[] = {
    {"put", OWNGIL_FAST(queue_put), NULL},
    {"put_for", queue_put_for, METH_VARARGS, NULL},
    {"readdress", queue_readdress, METH_VARARGS, NULL},
    {"get", OWNGIL_FAST(queue_get), NULL},
    {"receive", OWNGIL_FAST(owngil_queue_receive), NULL},
    {"begin_receive", OWNGIL_FAST(owngil_queue_begin_receive), NULL},
    {"begin_send", OWNGIL_FAST(owngil_queue_begin_send), NULL},
    {"spend", queue_spend, METH_O, NULL},
    {"close", queue_close, METH_NOARGS, NULL},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef queue_getset[] = {
    {"closed", queue_get_closed, NULL, "Whether close() was called.", NULL},
    {"spent", queue_get_spent, NULL, "Nanoseconds; see spend().", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_new, queue_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_richcompare, owngil_wrapper_compare},
    {Py_tp_hash, owngil_wrapper_hash},
    {Py_sq_length, queue_length},
    {0, NULL},
};

OWNGIL_DEFINE_TYPE(queue, "owngil._core.Queue", owngil_wrapper, 0, queue_slots, queue_type)
