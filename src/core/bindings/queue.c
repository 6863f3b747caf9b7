/* owngil._core.Queue: the Python object by which one interpreter uses a queue of the process. */
#include "bindings/args.h"
#include "bindings/future.h"
#include "bindings/parts.h"
#include "bindings/raise.h"
#include "bindings/transfer.h"
#include "bindings/wait.h"
#include "bindings/wrapper.h"
#include "tracing/events.h"

/* Queue(maxsize=0, last_first=False): make a process-wide queue of messages; with maxsize=0 it is never full. Of
 * several receivers that wait, the one that came first is served first; or with last_first, the one that came last. */
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
        return PyErr_Format(PyExc_ValueError, "maxsize must be 0 (unbounded) or more, not %zd", maxsize);
    }
    return owngil_wrap(type, (owngil_refcounted *)owngil_queue_new((size_t)maxsize, last_first != 0));
}

/* Returns a new message as a wrapper, or NULL with an exception set. */
static PyObject *
make_message(owngil_state *state, int kind, uint64_t id, PyObject *parts)
{
    owngil_message *message = owngil_parts_to_message(state, kind, id, parts);
    return message != NULL ? owngil_wrap(state->message_type, &message->base) : NULL;
}

/* Returns `wrapper`, the message that was put with this status, and lets `future` know of it. After a failure, releases
 * it and returns NULL with the exception set. */
static PyObject *
finish_put(owngil_state *state, owngil_status code, PyObject *wrapper, PyObject *future)
{
    if (code != OWNGIL_OK) {
        owngil_raise_status(code, state->queue_closed);
    }
    if (code != OWNGIL_OK || owngil_future_set_message(state, future, wrapper) < 0) {
        Py_DECREF(wrapper);
        return NULL;
    }
    return wrapper;
}

/* put(kind, id, parts, timeout=None, future=None, /): append a message made of blocks, handles and bytes (which are
 * copied), and return it; wait while the queue is full. The message becomes the `_message` of `future` before a signal
 * handler can run. */
static PyObject *
queue_put(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    owngil_deadline deadline;
    owngil_state *state = owngil_state_of(Py_TYPE(self));
    if (owngil_args_check_count("put", count, 3, 5) < 0) {
        return NULL;
    }
    int kind = PyLong_AsInt(args[0]);
    uint64_t id = PyLong_AsUnsignedLongLong(args[1]);
    if (PyErr_Occurred() || owngil_args_timeout(count > 3 ? args[3] : NULL, false, &deadline) < 0) {
        return NULL;
    }
    PyObject *wrapper = make_message(state, kind, id, args[2]);
    if (wrapper == NULL) {
        return NULL;
    }
    owngil_message *message = OWNGIL_UNWRAP(owngil_message, wrapper);
    owngil_queue *queue = OWNGIL_UNWRAP(owngil_queue, self);
    if (queue->last_first) { /* the queue is one of tasks */
        owngil_events_send(queue, message);
    }
    /* Nearly always there is room: then do not release the GIL. */
    owngil_status code = owngil_queue_put(queue, message, OWNGIL_DEADLINE_NOW);
    if (code == OWNGIL_TIMEOUT && deadline != OWNGIL_DEADLINE_NOW) {
        int failed;
        OWNGIL_WAIT(failed, code, owngil_queue_put(queue, message, deadline));
        if (failed < 0) {
            Py_DECREF(wrapper);
            return NULL;
        }
    }
    return finish_put(state, code, wrapper, count > 4 ? args[4] : NULL);
}

/* put_for(receiver, kind, id, parts, future=None, /): put a message for the worker with the number `receiver` alone,
 * which gets it before all others, and return it; see put(). */
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
    PyObject *wrapper = make_message(state, kind, id, parts);
    if (wrapper == NULL) {
        return NULL;
    }
    owngil_message *message = OWNGIL_UNWRAP(owngil_message, wrapper);
    owngil_queue *queue = OWNGIL_UNWRAP(owngil_queue, self);
    owngil_events_send(queue, message);
    return finish_put(state, owngil_queue_put_for(queue, receiver + 1, message), wrapper, future);
}

/* readdress(gone, receiver, /): address the messages for the worker `gone` to the worker `receiver`. */
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

/* get(timeout=None, writable=False, /): wait for a message and return (kind, id, parts). With `writable`, the receiver
 * may write to the blocks among the parts. */
static PyObject *
queue_get(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    owngil_deadline deadline;
    owngil_state *state = owngil_state_of(Py_TYPE(self));
    if (owngil_args_check_count("get", count, 0, 2) < 0) {
        return NULL;
    }
    int writable = count > 1 ? PyObject_IsTrue(args[1]) : 0;
    if (writable < 0 || owngil_args_timeout(count > 0 ? args[0] : NULL, false, &deadline) < 0) {
        return NULL;
    }
    owngil_queue *queue = OWNGIL_UNWRAP(owngil_queue, self);
    owngil_message *message = owngil_wait_for_message(queue, 0, deadline, state->queue_closed);
    if (message == NULL) {
        return NULL;
    }
    PyObject *result = Py_BuildValue("iKN", message->kind, (unsigned long long)message->id,
                                     owngil_parts_from_message(state, message, writable != 0));
    if (result == NULL) { /* there is no memory: the message must not be lost */
        owngil_queue_put_back(queue, message);
        return NULL;
    }
    owngil_message_clear(message);
    owngil_refcount_release(&message->base);
    return result;
}

/* spend(since, /): add the time since then, by time.monotonic_ns(), to the time that the queue's users have spent on
 * writing or rebuilding messages. */
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

OWNGIL_DEFINE_GETTER(queue_get_spent, owngil_queue, PyLong_FromLongLong,
                     atomic_load_explicit(&self->spent, memory_order_relaxed))

/* close(): accept no more messages, and wake all threads that wait, with QueueClosed. */
OWNGIL_DEFINE_ACTION(queue_close, owngil_queue, owngil_queue_close)
OWNGIL_DEFINE_GETTER(queue_get_closed, owngil_queue, PyBool_FromLong, owngil_queue_is_closed(self))

static Py_ssize_t
queue_length(PyObject *self)
{
    return (Py_ssize_t)owngil_queue_length(OWNGIL_UNWRAP(owngil_queue, self));
}

static PyMethodDef queue_methods[] = {
    {"put", OWNGIL_FAST(queue_put)},
    {"put_for", queue_put_for, METH_VARARGS},
    {"readdress", queue_readdress, METH_VARARGS},
    {"get", OWNGIL_FAST(queue_get)},
    {"receive", OWNGIL_FAST(owngil_queue_receive)},
    {"begin_receive", OWNGIL_FAST(owngil_queue_begin_receive)},
    {"begin_send", OWNGIL_FAST(owngil_queue_begin_send)},
    {"spend", queue_spend, METH_O},
    {"close", queue_close, METH_NOARGS},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS},
    {NULL},
};

static PyGetSetDef queue_getset[] = {
    {"closed", queue_get_closed, NULL, "Whether close() was called."},
    {"spent", queue_get_spent, NULL, "Nanoseconds; see spend()."},
    {NULL},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_new, queue_new}, {Py_tp_methods, queue_methods}, {Py_tp_getset, queue_getset},
    OWNGIL_HANDLE_SLOTS,    {Py_sq_length, queue_length},   {0},
};

OWNGIL_DEFINE_TYPE(queue, "owngil._core.Queue", owngil_wrapper, 0, queue_slots, queue_type)
