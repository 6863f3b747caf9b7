/* owngil._core.Transfer, and the methods of Queue that make transfers; see messaging/transfer.h. */
#include "bindings/transfer.h"

#include "bindings/args.h"
#include "bindings/parts.h"
#include "bindings/raise.h"
#include "bindings/wait.h"
#include "memory/lease.h"
#include "messaging/transfer.h"
#include "sync/parking.h"

/* Returns a new wrapper that takes over the reference to `transfer`, even when it fails. For a `transfer` of NULL, sets
 * MemoryError. */
static PyObject *
wrap_transfer(owngil_state *state, owngil_transfer *transfer)
{
    if (transfer == NULL) {
        return PyErr_NoMemory();
    }
    owngil_wrapper *self = (owngil_wrapper *)state->transfer_type->tp_alloc(state->transfer_type, 0);
    if (self == NULL) {
        (void)owngil_transfer_undo(transfer);
        owngil_refcount_release(&transfer->base);
        return NULL;
    }
    self->shared = &transfer->base;
    return (PyObject *)self;
}

PyObject *
owngil_queue_receive(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    owngil_state *state = owngil_state_of(Py_TYPE(self));
    owngil_deadline deadline;
    if (owngil_args_check_count("receive", count, 0, 1) < 0
        || owngil_args_timeout(count == 1 ? args[0] : NULL, false, &deadline) < 0) {
        return NULL;
    }
    owngil_queue *queue = OWNGIL_UNWRAP(owngil_queue, self);
    owngil_message *message = owngil_wait_for_message(queue, 0, deadline, state->queue_closed);
    if (message == NULL) {
        return NULL;
    }
    /* Run a signal handler that is due, which may raise anything: here the message can still be put back. */
    if (PyErr_CheckSignals() < 0) {
        owngil_queue_put_back(queue, message);
        return NULL;
    }
    return wrap_transfer(state, owngil_transfer_received(queue, message));
}

/* Reads the arguments (wakeup, key). Returns 0, or -1 with TypeError set. */
static int
read_listener(owngil_state *state, PyObject *const *args, owngil_wakeup **wakeup, uint64_t *key)
{
    if (!Py_IS_TYPE(args[0], state->wakeup_type)) {
        PyErr_Format(PyExc_TypeError, "a transfer needs a Wakeup, not %.200s", Py_TYPE(args[0])->tp_name);
        return -1;
    }
    *wakeup = OWNGIL_UNWRAP(owngil_wakeup, args[0]);
    owngil_parking_watch(&(*wakeup)->base, owngil_wakeup_wake_loop);
    *key = PyLong_AsUnsignedLongLong(args[1]);
    return *key == (uint64_t)-1 && PyErr_Occurred() ? -1 : 0;
}

PyObject *
owngil_queue_begin_receive(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    owngil_state *state = owngil_state_of(Py_TYPE(self));
    owngil_wakeup *wakeup;
    uint64_t key;
    if (owngil_args_check_count("begin_receive", count, 2, 2) < 0 || read_listener(state, args, &wakeup, &key) < 0) {
        return NULL;
    }
    owngil_lease_collect();
    return wrap_transfer(state, owngil_transfer_receive(OWNGIL_UNWRAP(owngil_queue, self), wakeup, key));
}

PyObject *
owngil_queue_begin_send(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    owngil_state *state = owngil_state_of(Py_TYPE(self));
    owngil_wakeup *wakeup;
    uint64_t key;
    if (owngil_args_check_count("begin_send", count, 3, 3) < 0 || read_listener(state, args, &wakeup, &key) < 0) {
        return NULL;
    }
    owngil_message *message = owngil_parts_to_message(state, 0, 0, args[2]);
    if (message == NULL) {
        return NULL;
    }
    owngil_transfer *transfer = owngil_transfer_send(OWNGIL_UNWRAP(owngil_queue, self), message, wakeup, key);
    owngil_refcount_release(&message->base);
    return wrap_transfer(state, transfer);
}

static void
transfer_dealloc(PyObject *self)
{
    /* First undo it, while there is a reference: a thread that serves the transfer takes another one. */
    (void)owngil_transfer_undo(OWNGIL_UNWRAP(owngil_transfer, self));
    owngil_wrapper_dealloc(self);
}

/* check(): return whether the transfer is done; raise QueueClosed if it failed. */
static PyObject *
transfer_check(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_status code;
    if (!owngil_transfer_is_done(OWNGIL_UNWRAP(owngil_transfer, self), &code)) {
        Py_RETURN_FALSE;
    }
    if (code == OWNGIL_CLOSED || code == OWNGIL_INHERITED) {
        return owngil_raise_status(code, owngil_state_of(Py_TYPE(self))->queue_closed);
    }
    Py_RETURN_TRUE;
}

/* withdraw(): return True if nothing has been done yet, and then nothing will be. */
OWNGIL_DEFINE_METHOD(transfer_withdraw, owngil_transfer, PyBool_FromLong, owngil_transfer_withdraw(self))

/* undo(): put a received message back, or take back one that was sent and that no receiver has. Does nothing once the
 * transfer is confirmed or undone. Return True if it is now as if the transfer had never been. */
OWNGIL_DEFINE_METHOD(transfer_undo, owngil_transfer, PyBool_FromLong, owngil_transfer_undo(self))

static PyObject *
transfer_get_parts(PyObject *self, void *Py_UNUSED(closure))
{
    owngil_transfer *transfer = OWNGIL_UNWRAP(owngil_transfer, self);
    owngil_status code;
    owngil_message *message = NULL;
    if (!transfer->decided && owngil_transfer_is_done(transfer, &code)) {
        message = owngil_transfer_message(transfer);
    }
    if (message == NULL) {
        return PyErr_Format(PyExc_AttributeError, "the transfer has no message, or no longer has it");
    }
    return owngil_parts_from_message(owngil_state_of(Py_TYPE(self)), message, false);
}

OWNGIL_DEFINE_GETTER(transfer_get_confirmed, owngil_transfer, PyBool_FromLong, self->decided)

static int
transfer_set_confirmed(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    owngil_transfer *transfer = OWNGIL_UNWRAP(owngil_transfer, self);
    owngil_status code;
    if (value != Py_True || !owngil_transfer_is_done(transfer, &code)) {
        PyErr_SetString(PyExc_ValueError, "only a transfer that is done can be confirmed, and only by True");
        return -1;
    }
    owngil_transfer_confirm(transfer);
    return 0;
}

static PyMethodDef transfer_methods[] = {
    {"check", transfer_check, METH_NOARGS},
    {"withdraw", transfer_withdraw, METH_NOARGS},
    {"undo", transfer_undo, METH_NOARGS},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS},
    {NULL},
};

static PyGetSetDef transfer_getset[] = {
    {"parts", transfer_get_parts, NULL, "The parts of the message that was received."},
    {"confirmed", transfer_get_confirmed, transfer_set_confirmed,
     "Set to True when the message cannot be lost any more; until then, the end of this object undoes the transfer.\n"
     "This is an attribute, because Python checks for interrupts after calls."},
    {NULL},
};

static PyType_Slot transfer_slots[] = {
    {Py_tp_dealloc, transfer_dealloc},
    {Py_tp_methods, transfer_methods},
    {Py_tp_getset, transfer_getset},
    {0},
};

OWNGIL_DEFINE_TYPE(transfer, "owngil._core.Transfer", owngil_wrapper, Py_TPFLAGS_DISALLOW_INSTANTIATION, transfer_slots,
                   transfer_type)
