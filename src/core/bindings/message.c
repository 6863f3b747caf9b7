/* owngil._core.Message: a message that was put into a queue, seen from one interpreter; and the wait for its answer. */
#include "bindings/args.h"
#include "bindings/future.h"
#include "bindings/parts.h"
#include "bindings/raise.h"
#include "bindings/wait.h"
#include "memory/block.h"
#include "memory/lease.h"
#include "messaging/kinds.h"
#include "platform/thread.h"
#include "tracing/events.h"

/* cancel(): return True if no receiver has had the message; then none will. */
static PyObject *
message_cancel(PyObject *self, PyObject *Py_UNUSED(unused))
{
    bool cancelled = owngil_message_cancel(OWNGIL_UNWRAP(owngil_message, self));
    if (cancelled) {
        owngil_events_cancel(OWNGIL_UNWRAP(owngil_message, self));
    }
    return PyBool_FromLong(cancelled);
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

/* Rebuilds the result in the answer, and sets it in the future. Returns 1; 0 if another thread must do that; or -1 with
 * an exception: the future has not changed. */
static int
deliver_result(owngil_state *state, owngil_queue *queue, const owngil_message *answer, PyObject *future,
               PyObject *loads)
{
    if (answer->kind != OWNGIL_MESSAGE_RESULT) {
        return 0;
    }
    const owngil_block *first = answer->count > 0 ? (const owngil_block *)answer->parts[0] : NULL;
    /* A pickle begins with 0x80; see owngil._wire. */
    bool pickled = first != NULL && first->size > 0 && *(const unsigned char *)first->data == 0x80;
    int64_t start = pickled ? owngil_clock_now() : 0;
    PyObject *parts = owngil_parts_from_message(state, answer, true);
    PyObject *result = parts != NULL ? PyObject_CallOneArg(loads, parts) : NULL;
    Py_XDECREF(parts);
    if (pickled) {
        owngil_events_receive(queue, answer->id, start);
    }
    int delivered = result != NULL ? owngil_future_set_quietly(state, future, result) : -1;
    Py_XDECREF(result);
    return delivered;
}

/* Puts the answer into the queue, for the thread that takes answers out of it; or if the queue is closed, because that
 * thread has ended, gives it to the future. Keeps an exception that is set. Returns 0; or -1 with an exception, also
 * with one that was set before. */
static int
pass_on(owngil_state *state, owngil_queue *queue, owngil_message *answer, PyObject *future)
{
    PyObject *error = PyErr_GetRaisedException();
    int failed = 0;
    if (owngil_queue_put(queue, answer, OWNGIL_DEADLINE_NOW) == OWNGIL_CLOSED) {
        PyObject *parts = owngil_parts_from_message(state, answer, true);
        failed = parts == NULL ? -1 : owngil_future_take_answer(state, future, answer->kind, parts);
        Py_XDECREF(parts);
    }
    if (error != NULL) {
        PyErr_SetRaisedException(error);
        failed = -1;
    }
    return failed;
}

/* Delivers the answer, or passes it on. Returns 1 if it was delivered, 0 if not, or -1 with an exception. */
static int
deliver_or_pass_on(owngil_state *state, owngil_queue *queue, owngil_message *task, owngil_message *answer,
                   PyObject *future, PyObject *loads)
{
    /* Run a signal handler that is due: its exception is no failure to rebuild the result. Nor is the exception of a
     * handler that runs while the result is rebuilt: trying once more tells the two apart. */
    bool interrupted = PyErr_CheckSignals() < 0;
    int delivered = interrupted ? -1 : deliver_result(state, queue, answer, future, loads);
    PyObject *raised = NULL;
    if (!interrupted && delivered < 0 && owngil_thread_is_main() && PyErr_ExceptionMatches(PyExc_Exception)) {
        raised = PyErr_GetRaisedException();
        delivered = deliver_result(state, queue, answer, future, loads);
        if (delivered < 0) {
            Py_CLEAR(raised);
        }
    }
    if (delivered > 0) {
        owngil_message_clear(answer);
        /* Another thread may have begun to wait since, and a signal may keep the caller from waking it. */
        owngil_queue_stop_waiting(queue, task);
    }
    else {
        /* KeyboardInterrupt and SystemExit may come from a signal handler. Other exceptions will occur again, in the
         * thread that takes the answer. */
        if (!interrupted && delivered < 0 && PyErr_ExceptionMatches(PyExc_Exception)) {
            PyErr_Clear();
            delivered = 0;
        }
        delivered = pass_on(state, queue, answer, future) < 0 ? -1 : delivered;
    }
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
        return -1;
    }
    return delivered;
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

/* await_answer(queue, future, loads, timeout, /): wait for the answer to this message, which goes to `queue`. Return
 * True if the answer came here and `future` has the result, ``loads(parts)``. Return False if the answer goes through
 * the queue, because it is an error, because another thread must be notified, or because another thread waits here
 * already. */
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
    int delivered = deliver_or_pass_on(state, queue, task, answer, args[1], args[2]);
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
    {"cancel", message_cancel, METH_NOARGS},
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
