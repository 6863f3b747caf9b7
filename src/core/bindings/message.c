/* owngil._core.Message: what was put into a queue, seen from one interpreter; and waiting for the answer to it. */
#include "memory/block.h"
#include "memory/lease.h"
#include "bindings/state.h"
#include "tracing/events.h"

static owngil_message *
message_of(PyObject *self)
{
    return (owngil_message *)((owngil_wrapper *)self)->shared;
}

PyDoc_STRVAR(cancel_doc,
"cancel()\n--\n\n"
"True if no receiver has had the message, and none will.");

static PyObject *
message_cancel(PyObject *self, PyObject *Py_UNUSED(unused))
{
    bool cancelled = owngil_message_cancel(message_of(self));
    if (cancelled) {
        owngil_observe_cancel(message_of(self));
    }
    return PyBool_FromLong(cancelled);
}

PyDoc_STRVAR(refuse_doc,
"refuse()\n--\n\n"
"Let the task that the message is fail with KeyboardInterrupt as it begins, if it has not begun.");

static PyObject *
message_refuse(PyObject *self, PyObject *Py_UNUSED(unused))
{
    /* run_task() sets the worker's `task` and then looks here. Who calls this looks at `task` afterwards. */
    atomic_store(&message_of(self)->unwanted, true);
    Py_RETURN_NONE;
}

static PyObject *
message_get_taken(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(owngil_message_is_taken(message_of(self)));
}

static PyObject *
message_get_cancelled(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(owngil_message_is_cancelled(message_of(self)));
}

/* Attributes of TaskFuture, interned. The first is the condition that all futures have, once somebody asked for it, else
 * None; the next are concurrent.futures.Future's, unchanged since 3.2. */
enum { CONDITION, STATE, RESULT, PENDING, FINISHED, TAKE_ANSWER, MESSAGE };

PyObject *
owngil_message_future_names(void)
{
    static const char *const names[] = {
        [CONDITION] = "_made_condition", [STATE] = "_state",       [RESULT] = "_result",
        [PENDING] = "PENDING",           [FINISHED] = "FINISHED", [TAKE_ANSWER] = "take_answer",
        [MESSAGE] = "_message",
    };
    const Py_ssize_t count = sizeof(names) / sizeof(names[0]);
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t k = 0; tuple != NULL && k < count; k++) {
        PyObject *name = PyUnicode_InternFromString(names[k]);
        if (name == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, k, name);
    }
    return tuple;
}

/* Does what Future.set_result() does, if nobody is to be told of it: nobody has asked for the future's condition, which
 * waiting and callbacks need. No other thread comes in between, and no handler of a signal: nothing in here lets go of the
 * GIL. Returns 1; 0 if somebody is to be told, or the future is resolved; -1 with an exception. */
static int
set_quietly(PyObject *names, PyObject *future, PyObject *result)
{
    int quiet = -1;
    PyObject *state = PyObject_GetAttr(future, PyTuple_GET_ITEM(names, STATE));
    PyObject *condition = PyObject_GetAttr(future, PyTuple_GET_ITEM(names, CONDITION));
    if (state != NULL && condition != NULL) {
        quiet = condition == Py_None && state == PyTuple_GET_ITEM(names, PENDING);
        if (quiet
            && (PyObject_SetAttr(future, PyTuple_GET_ITEM(names, RESULT), result) < 0
                || PyObject_SetAttr(future, PyTuple_GET_ITEM(names, STATE), PyTuple_GET_ITEM(names, FINISHED)) < 0)) {
            quiet = -1;
        }
    }
    Py_XDECREF(condition);
    Py_XDECREF(state);
    return quiet;
}

int
owngil_message_note(owngil_state *state, PyObject *future, PyObject *message)
{
    return future == NULL || future == Py_None
               ? 0
               : PyObject_SetAttr(future, PyTuple_GET_ITEM(state->future_names, MESSAGE), message);
}

/* Gives the future what the answer holds: 1; or 0 if another thread is to do that; -1 with an exception: nothing was done. */
static int
settle(owngil_state *state, owngil_queue *queue, const owngil_message *answer, PyObject *future, PyObject *loads)
{
    if (answer->kind != OWNGIL_REPLY_RESULT) {
        return 0;
    }
    const owngil_block *first = answer->count > 0 ? (const owngil_block *)answer->parts[0] : NULL;
    bool pickled = first != NULL && first->size > 0 && *(const unsigned char *)first->data == 0x80; /* see _wire.py */
    int64_t start = pickled ? owngil_tally_now() : 0;
    PyObject *parts = owngil_message_to_parts(state, answer, true);
    PyObject *result = parts != NULL ? PyObject_CallOneArg(loads, parts) : NULL;
    Py_XDECREF(parts);
    if (pickled) {
        owngil_observe_receive(queue, answer->id, start);
    }
    int settled = result != NULL ? set_quietly(state->future_names, future, result) : -1;
    Py_XDECREF(result);
    return settled;
}

/* Lets the thread that takes answers out of the queue do it; or if that has ended, the future itself. Returns 0 or -1. */
static int
hand_on(owngil_state *state, owngil_queue *queue, owngil_message *answer, PyObject *future)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *done = Py_None;
    if (owngil_queue_put(queue, answer, &owngil_deadline_now) == OWNGIL_CLOSED) {
        PyObject *parts = owngil_message_to_parts(state, answer, true);
        PyObject *kind = parts != NULL ? PyLong_FromLong(answer->kind) : NULL;
        PyObject *arguments[] = {future, kind, parts};
        done = kind != NULL ? PyObject_VectorcallMethod(PyTuple_GET_ITEM(state->future_names, TAKE_ANSWER), arguments,
                                                        3, NULL)
                            : NULL;
        Py_XDECREF(kind);
        Py_XDECREF(parts);
        Py_XDECREF(done);
    }
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
    return done != NULL && error == NULL ? 0 : -1;
}

PyDoc_STRVAR(await_answer_doc,
"await_answer(queue, future, loads, timeout, /)\n--\n\n"
"Wait for the answer to this message, which `queue` is for.\n\n"
"True: it came here, and `future` has the result, which is what ``loads(parts)`` returned. False: it takes its way through the\n"
"queue, because it is an error, because somebody else is to be told, or because another thread waits here already.");

static PyObject *
message_await_answer(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    owngil_state *state = owngil_state_of(Py_TYPE(self));
    owngil_deadline deadline;
    if (count != 4 || !Py_IS_TYPE(args[0], state->queue_type)) {
        PyErr_SetString(PyExc_TypeError, "await_answer() takes a Queue and 3 more arguments");
        return NULL;
    }
    if (owngil_deadline_from_object(args[3], &deadline) < 0) {
        return NULL;
    }
    owngil_queue *queue = (owngil_queue *)((owngil_wrapper *)args[0])->shared;
    PyObject *future = args[1], *loads = args[2];
    owngil_message *answer = NULL;
    owngil_code code;
    int again;
    bool looks = true; /* once; then signals have their turn, and it sleeps */
    do {
        owngil_wait_begin();
        Py_BEGIN_ALLOW_THREADS
        code = owngil_queue_await(queue, message_of(self), &answer, &deadline, looks);
        Py_END_ALLOW_THREADS
        again = owngil_wait_end(code);
        looks = false;
    } while (again > 0);
    owngil_lease_settle();
    if (again < 0 || code != OWNGIL_OK) {
        return again < 0 ? NULL : owngil_errors_raise(code, state->queue_closed);
    }
    if (answer == NULL) {
        Py_RETURN_FALSE;
    }
    /* A signal's handler may be due. What it raises must not be taken for a failure to rebuild the result; nor what one raises
     * that comes in while the result is rebuilt, which shows when that is tried once more. */
    bool due = PyErr_CheckSignals() < 0;
    int settled = due ? -1 : settle(state, queue, answer, future, loads);
    PyObject *raised = NULL;
    if (!due && settled < 0 && owngil_compat_is_main_thread() && PyErr_ExceptionMatches(PyExc_Exception)) {
        raised = PyErr_GetRaisedException();
        settled = settle(state, queue, answer, future, loads);
        if (settled < 0) {
            Py_CLEAR(raised);
        }
    }
    if (settled > 0) {
        owngil_message_clear(answer);
        /* Another thread may have begun to wait since. Not left to the caller, whom a signal may keep from it. */
        owngil_queue_settle(queue, message_of(self));
    }
    else {
        /* KeyboardInterrupt and SystemExit may be a signal handler's; others will occur again, to whom they concern. */
        if (!due && settled < 0 && PyErr_ExceptionMatches(PyExc_Exception)) {
            PyErr_Clear();
            settled = 0;
        }
        settled = hand_on(state, queue, answer, future) < 0 ? -1 : settled;
    }
    owngil_shared_release(&answer->base);
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
        return NULL;
    }
    return settled < 0 ? NULL : PyBool_FromLong(settled);
}

PyDoc_STRVAR(settle_doc,
"settle(queue, /)\n--\n\n"
"Let nobody wait any more for the answer to this message.");

static PyObject *
message_settle(PyObject *self, PyObject *queue)
{
    if (!Py_IS_TYPE(queue, owngil_state_of(Py_TYPE(self))->queue_type)) {
        PyErr_SetString(PyExc_TypeError, "settle() takes a Queue");
        return NULL;
    }
    owngil_queue_settle((owngil_queue *)((owngil_wrapper *)queue)->shared, message_of(self));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(has_answer_doc,
"has_answer(queue, /)\n--\n\n"
"Whether an answer to this message came into the queue, or went to who waited for it.");

static PyObject *
message_has_answer(PyObject *self, PyObject *queue)
{
    if (!Py_IS_TYPE(queue, owngil_state_of(Py_TYPE(self))->queue_type)) {
        PyErr_SetString(PyExc_TypeError, "has_answer() takes a Queue");
        return NULL;
    }
    return PyBool_FromLong(
        owngil_queue_has_answered((owngil_queue *)((owngil_wrapper *)queue)->shared, message_of(self)));
}

PyDoc_STRVAR(set_quietly_doc,
"set_quietly(future, result, /)\n--\n\n"
"Set the result of a TaskFuture if nobody is to be told of it; return whether that was so.");

static PyObject *
message_set_quietly(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "set_quietly() takes a future and a result");
        return NULL;
    }
    int quiet = set_quietly(((owngil_state *)PyModule_GetState(module))->future_names, args[0], args[1]);
    return quiet < 0 ? NULL : PyBool_FromLong(quiet);
}

PyMethodDef owngil_message_functions[] = {
    {"set_quietly", (PyCFunction)(void (*)(void))message_set_quietly, METH_FASTCALL, set_quietly_doc},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef message_methods[] = {
    {"cancel", message_cancel, METH_NOARGS, cancel_doc},
    {"refuse", message_refuse, METH_NOARGS, refuse_doc},
    {"await_answer", (PyCFunction)(void (*)(void))message_await_answer, METH_FASTCALL, await_answer_doc},
    {"settle", message_settle, METH_O, settle_doc},
    {"has_answer", message_has_answer, METH_O, has_answer_doc},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef message_getset[] = {
    {"cancelled", message_get_cancelled, NULL, "Whether no receiver will have the message.", NULL},
    {"taken", message_get_taken, NULL, "Whether a receiver has the message.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot message_slots[] = {
    {Py_tp_doc, (void *)"A message that was put into a queue."},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, message_methods},
    {Py_tp_getset, message_getset},
    {0, NULL},
};

PyType_Spec owngil_message_spec = {
    .name = "owngil._core.Message",
    .basicsize = sizeof(owngil_wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = message_slots,
};
