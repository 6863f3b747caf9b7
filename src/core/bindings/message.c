/* owngil._core.Message: what was put into a queue, seen from one interpreter; and waiting for the answer to it. */
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

/* cancel(): true if no receiver has had the message, and none will. */
static PyObject *
message_cancel(PyObject *self, PyObject *Py_UNUSED(unused))
{
    bool cancelled = owngil_message_cancel(OWNGIL_UNWRAP(owngil_message, self));
    if (cancelled) {
        owngil_events_cancel(OWNGIL_UNWRAP(owngil_message, self));
    }
    return PyBool_FromLong(cancelled);
}

/* refuse(): let the task that the message is fail with KeyboardInterrupt as it begins, if it has not begun. */
static PyObject *
message_refuse(PyObject *self, PyObject *Py_UNUSED(unused))
{
    /* run_task() sets the worker's `task` and then looks here. Who calls this looks at `task` afterwards. */
    atomic_store(&OWNGIL_UNWRAP(owngil_message, self)->unwanted, true);
    Py_RETURN_NONE;
}

static PyObject *
message_get_taken(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(owngil_message_is_taken(OWNGIL_UNWRAP(owngil_message, self)));
}

static PyObject *
message_get_cancelled(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(owngil_message_is_cancelled(OWNGIL_UNWRAP(owngil_message, self)));
}

/* Rebuilds the result that the answer holds, and sets it in the future. Returns 1; 0 if another thread is to do that; -1 with
 * an exception: nothing was done. */
static int
deliver(owngil_state *state, owngil_queue *queue, const owngil_message *answer, PyObject *future, PyObject *loads)
{
    if (answer->kind != OWNGIL_MESSAGE_RESULT) {
        return 0;
    }
    const owngil_block *first = answer->count > 0 ? (const owngil_block *)answer->parts[0] : NULL;
    bool pickled =
        first != NULL && first->size > 0 && *(const unsigned char *)first->data == 0x80; /* see owngil._wire */
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

/* Hands the answer to the thread that takes answers out of the queue; or if that has ended, to the future. Leaves an exception
 * that is set alone. Returns 0; or -1, also if an exception was set. */
static int
hand_on(owngil_state *state, owngil_queue *queue, owngil_message *answer, PyObject *future)
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

/* Delivers the answer, or hands it on. Returns 1 if it was delivered, 0 if not, or -1 with an exception. Needs the GIL. */
static int
deliver_or_hand_on(owngil_state *state, owngil_queue *queue, owngil_message *task, owngil_message *answer,
                   PyObject *future, PyObject *loads)
{
    /* A signal's handler may be due, and raise an exception. That must not be taken for a failure to rebuild the result; nor
     * must the exception of a handler that runs while the result is rebuilt. Trying once more tells the two apart. */
    bool due = PyErr_CheckSignals() < 0;
    int delivered = due ? -1 : deliver(state, queue, answer, future, loads);
    PyObject *raised = NULL;
    if (!due && delivered < 0 && owngil_thread_is_main() && PyErr_ExceptionMatches(PyExc_Exception)) {
        raised = PyErr_GetRaisedException();
        delivered = deliver(state, queue, answer, future, loads);
        if (delivered < 0) {
            Py_CLEAR(raised);
        }
    }
    if (delivered > 0) {
        owngil_message_clear(answer);
        /* Another thread may have begun to wait since. A signal may keep the caller from telling it. */
        owngil_queue_stop_waiting(queue, task);
    }
    else {
        /* KeyboardInterrupt and SystemExit may be a signal handler's. Other exceptions will occur again, in the thread that
         * takes the answer. */
        if (!due && delivered < 0 && PyErr_ExceptionMatches(PyExc_Exception)) {
            PyErr_Clear();
            delivered = 0;
        }
        delivered = hand_on(state, queue, answer, future) < 0 ? -1 : delivered;
    }
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
        return -1;
    }
    return delivered;
}

/* await_answer(queue, future, loads, timeout, /): wait for the answer to this message, which `queue` is for. True: the
 * answer came here, and `future` has the result, ``loads(parts)``. False: the answer takes its way through the queue,
 * because it is an error, because another thread is to be told, or because another thread waits here already. */
static PyObject *
message_await_answer(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    owngil_state *state = owngil_state_of(Py_TYPE(self));
    owngil_deadline deadline;
    if (count != 4 || !Py_IS_TYPE(args[0], state->queue_type)) {
        PyErr_SetString(PyExc_TypeError, "await_answer() takes a Queue and 3 more arguments");
        return NULL;
    }
    if (owngil_args_timeout(args[3], &deadline) < 0) {
        return NULL;
    }
    owngil_queue *queue = OWNGIL_UNWRAP(owngil_queue, args[0]);
    PyObject *future = args[1], *loads = args[2];
    owngil_message *answer = NULL;
    owngil_status code;
    int again;
    bool spins = true; /* once; then signals have their turn, and it blocks */
    do {
        owngil_wait_begin();
        Py_BEGIN_ALLOW_THREADS
        code = owngil_queue_await(queue, OWNGIL_UNWRAP(owngil_message, self), &answer, deadline, spins);
        Py_END_ALLOW_THREADS
        again = owngil_wait_end(code);
        spins = false;
    } while (again > 0);
    owngil_lease_collect();
    if (again < 0 || code != OWNGIL_OK) {
        return again < 0 ? NULL : owngil_raise_status(code, state->queue_closed);
    }
    if (answer == NULL) {
        Py_RETURN_FALSE;
    }
    int delivered = deliver_or_hand_on(state, queue, OWNGIL_UNWRAP(owngil_message, self), answer, future, loads);
    owngil_refcount_release(&answer->base);
    return delivered < 0 ? NULL : PyBool_FromLong(delivered);
}

/* stop_waiting(queue, /): let no thread wait any more for the answer to this message. */
static PyObject *
message_stop_waiting(PyObject *self, PyObject *queue)
{
    if (!Py_IS_TYPE(queue, owngil_state_of(Py_TYPE(self))->queue_type)) {
        PyErr_SetString(PyExc_TypeError, "stop_waiting() takes a Queue");
        return NULL;
    }
    owngil_queue_stop_waiting(OWNGIL_UNWRAP(owngil_queue, queue), OWNGIL_UNWRAP(owngil_message, self));
    Py_RETURN_NONE;
}

/* has_answer(queue, /): whether an answer to this message came into the queue, or went to who waited for it. */
static PyObject *
message_has_answer(PyObject *self, PyObject *queue)
{
    if (!Py_IS_TYPE(queue, owngil_state_of(Py_TYPE(self))->queue_type)) {
        PyErr_SetString(PyExc_TypeError, "has_answer() takes a Queue");
        return NULL;
    }
    return PyBool_FromLong(
        owngil_queue_has_answered(OWNGIL_UNWRAP(owngil_queue, queue), OWNGIL_UNWRAP(owngil_message, self)));
}

static PyMethodDef message_methods[] = {
    {"cancel", message_cancel, METH_NOARGS, NULL},
    {"refuse", message_refuse, METH_NOARGS, NULL},
    {"await_answer", OWNGIL_FAST(message_await_answer), NULL},
    {"stop_waiting", message_stop_waiting, METH_O, NULL},
    {"has_answer", message_has_answer, METH_O, NULL},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef message_getset[] = {
    {"cancelled", message_get_cancelled, NULL, "Whether no receiver will have the message.", NULL},
    {"taken", message_get_taken, NULL, "Whether a receiver has the message.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot message_slots[] = {
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, message_methods},
    {Py_tp_getset, message_getset},
    {0, NULL},
};

OWNGIL_DEFINE_TYPE(message, "owngil._core.Message", owngil_wrapper, Py_TPFLAGS_DISALLOW_INSTANTIATION, message_slots,
                   message_type)
