/* owngil._core.Transfer, and the methods of Queue that make transfers; see messaging/transfer.h. */
#include "bindings/transfer.h"

#include "bindings/args.h"
#include "bindings/parts.h"
#include "bindings/raise.h"
#include "bindings/wait.h"
#include "memory/lease.h"
#include "messaging/transfer.h"
#include "sync/parking.h"

/* Takes over the reference to `transfer`, which may be NULL for want of memory. */
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
    if (count > 1) {
        PyErr_SetString(PyExc_TypeError, "receive() takes a timeout and no more");
        return NULL;
    }
    if (owngil_args_timeout(count == 1 ? args[0] : NULL, &deadline) < 0) {
        return NULL;
    }
    owngil_queue *queue = OWNGIL_UNWRAP(owngil_queue, self);
    owngil_message *message = NULL;
    if (owngil_wait_for_message(queue, 0, &message, deadline, state->queue_closed) < 0) {
        return NULL;
    }
    /* A signal's handler may be due, and raise anything: here it is known that the message is as good as new. */
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
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "begin_receive() needs a wakeup and a key");
        return NULL;
    }
    if (read_listener(state, args, &wakeup, &key) < 0) {
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
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "begin_send() needs a wakeup, a key and the parts of a message");
        return NULL;
    }
    if (read_listener(state, args, &wakeup, &key) < 0) {
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
    /* While there is a reference: who serves it takes another one. */
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

/* withdraw(): true if nothing had been done yet, and nothing will be. */
static PyObject *
transfer_withdraw(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(owngil_transfer_withdraw(OWNGIL_UNWRAP(owngil_transfer, self)));
}

/* undo(): put a received message back, or take back one that was sent and not received; without effect once the
 * transfer is confirmed or undone. True if it is as if it had never been. */
static PyObject *
transfer_undo(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(owngil_transfer_undo(OWNGIL_UNWRAP(owngil_transfer, self)));
}

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
        PyErr_SetString(PyExc_AttributeError, "the transfer has brought no message, or has it no longer");
        return NULL;
    }
    return owngil_parts_from_message(owngil_state_of(Py_TYPE(self)), message, false);
}

static PyObject *
transfer_get_confirmed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(OWNGIL_UNWRAP(owngil_transfer, self)->decided);
}

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
    {"check", transfer_check, METH_NOARGS, NULL},
    {"withdraw", transfer_withdraw, METH_NOARGS, NULL},
    {"undo", transfer_undo, METH_NOARGS, NULL},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef transfer_getset[] = {
    {"parts", transfer_get_parts, NULL, "The parts of the message that was received.", NULL},
    {"confirmed", transfer_get_confirmed, transfer_set_confirmed,
     "Set to True when the message has arrived where it is safe; until then, the end of this object undoes the transfer.\n"
     "An attribute, because Python looks for interrupts after calls.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot transfer_slots[] = {
    {Py_tp_dealloc, transfer_dealloc},
    {Py_tp_methods, transfer_methods},
    {Py_tp_getset, transfer_getset},
    {0, NULL},
};

OWNGIL_DEFINE_TYPE(transfer, "owngil._core.Transfer", owngil_wrapper, Py_TPFLAGS_DISALLOW_INSTANTIATION, transfer_slots,
                   transfer_type)
