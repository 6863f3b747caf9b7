/* owngil._core.Message: a message that was put into a queue, seen from one interpreter; and the wait for its answer. */
#include "bindings/args.h"
#include "bindings/future.h"
#include "bindings/parts.h"
#include "bindings/raise.h"
#include "bindings/wait.h"
#include "memory/block.h"
#include "memory/lease.h"
#include "messaging/kinds.h"
#include "tracing/events.h"

/* Lets no receiver have the message. Returns false if one has. */
static bool
take_back(PyObject *self)
{
    owngil_message *message = OWNGIL_UNWRAP(owngil_message, self);
    bool cancelled = owngil_message_cancel(message);
    if (cancelled) {
        owngil_events_cancel(message);
    }
    return cancelled;
}

/* cancel(future=None, /): return True if no receiver has had the message; then none will, and the future, its task's, is
 * cancelled. */
static PyObject *
message_cancel(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (owngil_args_check_count("cancel", count, 0, 1) < 0) {
        return NULL;
    }
    bool cancelled = take_back(self);
    if (cancelled && count > 0
        && owngil_future_resolve(owngil_state_of(Py_TYPE(self)), args[0], OWNGIL_FUTURE_CANCELLED, NULL) < 0) {
        return NULL;
    }
    return PyBool_FromLong(cancelled);
}

/* settle(future, function, /, *args): if no receiver has had the message, none will: the calling thread runs the task,
 * and the future is resolved as by settle() of the module. */
static PyObject *
message_settle(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (owngil_args_check_count("settle", count, 2, PY_SSIZE_T_MAX) < 0) {
        return NULL;
    }
    if (take_back(self)
        && owngil_future_settle(owngil_state_of(Py_TYPE(self)), args[0], args[1], args + 2, count - 2) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* refuse(): if this message is a task that has not begun, let it fail with KeyboardInterrupt as it begins. */
static PyObject *
message_refuse(PyObject *self, PyObject *Py_UNUSED(unused))
{
    /* run_task() sets the worker's `task` and then reads `unwanted`. The caller of refuse() reads `task` afterwards. */
    atomic_store(&OWNGIL_UNWRAP(owngil_message, self)->unwanted, true);
    Py_RETURN_NONE;
}

OWNGIL_DEFINE_GETTER(message_get_taken, owngil_message, PyBool_FromLong, owngil_message_is_taken(self))
OWNGIL_DEFINE_GETTER(message_get_cancelled, owngil_message, PyBool_FromLong, owngil_message_is_cancelled(self))

/* Returns rebuild(kind, parts) for the answer: the outcome of a future, a tuple; or NULL with an exception. */
static PyObject *
rebuild_answer(owngil_state *state, owngil_queue *queue, const owngil_message *answer, PyObject *rebuild)
{
    const owngil_block *first = answer->count > 0 ? (const owngil_block *)answer->parts[0] : NULL;
    /* A pickle begins with 0x80; see owngil._wire. */
    bool pickled = first != NULL && first->size > 0 && *(const unsigned char *)first->data == 0x80;
    int64_t start = pickled ? owngil_clock_now() : 0;
    PyObject *arguments[] = {PyLong_FromLong(answer->kind), owngil_parts_from_message(state, answer, true)};
    PyObject *outcome =
        arguments[0] != NULL && arguments[1] != NULL ? PyObject_Vectorcall(rebuild, arguments, 2, NULL) : NULL;
    Py_XDECREF(arguments[0]);
    Py_XDECREF(arguments[1]);
    if (pickled) {
        owngil_events_receive(queue, answer->id, start);
    }
    return outcome;
}

/* Puts the answer into the queue, for the thread that takes answers out of it; or if the queue is closed, because that
 * thread has ended, resolves the future here. Keeps an exception that is set. Returns 0; or -1 with an exception, also
 * with one that was set before. */
static int
pass_on(owngil_state *state, owngil_queue *queue, owngil_message *answer, PyObject *future, PyObject *rebuild)
{
    PyObject *error = PyErr_GetRaisedException();
    int failed = 0;
    if (owngil_queue_put(queue, answer, OWNGIL_DEADLINE_NOW) == OWNGIL_CLOSED) {
        PyObject *arguments[] = {PyLong_FromLong(answer->kind), owngil_parts_from_message(state, answer, true)};
        if (arguments[0] != NULL && arguments[1] != NULL) {
            failed = owngil_future_settle(state, future, rebuild, arguments, 2) < 0 ? -1 : 0;
        }
        else { /* there is no memory */
            PyObject *no_memory = PyErr_GetRaisedException();
            failed = owngil_future_resolve(state, future, OWNGIL_FUTURE_EXCEPTION, no_memory) < 0 ? -1 : 0;
            Py_DECREF(no_memory);
        }
        Py_XDECREF(arguments[0]);
        Py_XDECREF(arguments[1]);
    }
    if (error != NULL) {
        PyErr_Clear();
        PyErr_SetRaisedException(error);
        failed = -1;
    }
    return failed;
}

/* Resolves the future with the answer, or passes it on. Returns 1 if this resolved it, 0 if not, or -1 with an
 * exception: then it is resolved, or will be by the thread that the answer was passed on to. */
static int
deliver_or_pass_on(owngil_state *state, owngil_queue *queue, owngil_message *answer, PyObject *future,
                   PyObject *rebuild)
{
    /* Run a signal handler that is due, so that its exception does not come while the answer is rebuilt. The collector
     * makes exceptions of tasks, and calls callbacks. */
    PyObject *outcome = NULL;
    if (PyErr_CheckSignals() == 0) {
        int watched = owngil_future_is_watched(state, future);
        if (watched == 0 && answer->kind == OWNGIL_MESSAGE_RESULT) {
            outcome = rebuild_answer(state, queue, answer, rebuild);
            if (outcome == NULL && PyErr_ExceptionMatches(PyExc_RecursionError)) {
                PyErr_Clear(); /* the collector has more stack */
            }
        }
    }
    if (outcome == NULL) {
        return pass_on(state, queue, answer, future, rebuild);
    }
    owngil_message_clear(answer);
    int resolved = owngil_future_resolve_by(state, future, outcome);
    Py_DECREF(outcome);
    return resolved;
}

/* Returns the queue that `object` wraps, or NULL with TypeError set. Borrowed. */
static owngil_queue *
queue_of(PyObject *self, PyObject *object)
{
    if (!Py_IS_TYPE(object, owngil_state_of(Py_TYPE(self))->queue_type)) {
        PyErr_Format(PyExc_TypeError, "a Queue is needed, not %.200s", Py_TYPE(object)->tp_name);
        return NULL;
    }
    return OWNGIL_UNWRAP(owngil_queue, object);
}

/* await_answer(queue, future, rebuild, timeout, /): wait for the answer to this message, which goes to `queue`. If it
 * comes here, resolve `future` with ``rebuild(kind, parts)``, which returns (result, None) or (None, exception), and
 * raises only what does not come from the answer, as signal handlers do. Return False if the answer goes through the
 * queue, because it is an error, because other threads or callbacks wait for the future, or because another thread
 * waits here already. */
static PyObject *
message_await_answer(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    owngil_state *state = owngil_state_of(Py_TYPE(self));
    owngil_deadline deadline;
    if (owngil_args_check_count("await_answer", count, 4, 4) < 0) {
        return NULL;
    }
    owngil_queue *queue = queue_of(self, args[0]);
    if (queue == NULL || owngil_args_timeout(args[3], false, &deadline) < 0) {
        return NULL;
    }
    owngil_message *task = OWNGIL_UNWRAP(owngil_message, self), *answer = NULL;
    owngil_status code;
    int failed, round = 0;
    /* Spin in the first round; then run signal handlers, and block. */
    OWNGIL_WAIT(failed, code, owngil_queue_await(queue, task, &answer, deadline, round++ == 0));
    owngil_lease_collect();
    if (failed < 0 || code != OWNGIL_OK) {
        return failed < 0 ? NULL : owngil_raise_status(code, state->queue_closed);
    }
    if (answer == NULL) {
        Py_RETURN_FALSE;
    }
    int delivered = deliver_or_pass_on(state, queue, answer, args[1], args[2]);
    owngil_refcount_release(&answer->base);
    return delivered < 0 ? NULL : PyBool_FromLong(delivered);
}

/* stop_waiting(queue, /): end the wait for the answer to this message, and let no thread begin to wait for it. */
static PyObject *
message_stop_waiting(PyObject *self, PyObject *object)
{
    owngil_queue *queue = queue_of(self, object);
    if (queue == NULL) {
        return NULL;
    }
    owngil_queue_stop_waiting(queue, OWNGIL_UNWRAP(owngil_message, self));
    Py_RETURN_NONE;
}

/* has_answer(queue, /): return whether an answer to this message came into the queue, or went to the thread that waited
 * for it. */
static PyObject *
message_has_answer(PyObject *self, PyObject *object)
{
    owngil_queue *queue = queue_of(self, object);
    if (queue == NULL) {
        return NULL;
    }
    return PyBool_FromLong(owngil_queue_has_answered(queue, OWNGIL_UNWRAP(owngil_message, self)));
}

static PyMethodDef message_methods[] = {
    {"cancel", OWNGIL_FAST(message_cancel)},
    {"settle", OWNGIL_FAST(message_settle)},
    {"refuse", message_refuse, METH_NOARGS},
    {"await_answer", OWNGIL_FAST(message_await_answer)},
    {"stop_waiting", message_stop_waiting, METH_O},
    {"has_answer", message_has_answer, METH_O},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS},
    {NULL},
};

static PyGetSetDef message_getset[] = {
    {"cancelled", message_get_cancelled, NULL, "Whether the message was cancelled: no receiver will have it."},
    {"taken", message_get_taken, NULL, "Whether a receiver has the message."},
    {NULL},
};

static PyType_Slot message_slots[] = {
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, message_methods},
    {Py_tp_getset, message_getset},
    {0},
};

OWNGIL_DEFINE_TYPE(message, "owngil._core.Message", owngil_wrapper, Py_TPFLAGS_DISALLOW_INSTANTIATION, message_slots,
                   message_type)
