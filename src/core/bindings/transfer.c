/* owngil._core.Transfer and Wakeup, and the methods of Queue that make transfers; see transfer.h and wakeup.h. */
#include "memory/lease.h"
#include "bindings/state.h"
#include "messaging/transfer.h"

static owngil_queue *
queue_of(PyObject *self)
{
    return (owngil_queue *)((owngil_wrapper *)self)->shared;
}

static owngil_transfer *
transfer_of(PyObject *self)
{
    return (owngil_transfer *)((owngil_wrapper *)self)->shared;
}

static owngil_wakeup *
wakeup_of(PyObject *self)
{
    return (owngil_wakeup *)((owngil_wrapper *)self)->shared;
}

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
        owngil_shared_release(&transfer->base);
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
    if (owngil_deadline_from_object(count == 1 ? args[0] : NULL, &deadline) < 0) {
        return NULL;
    }
    owngil_queue *queue = queue_of(self);
    owngil_message *message = NULL;
    if (owngil_queue_wait(queue, 0, &message, &deadline, state->queue_closed) < 0) {
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
    *wakeup = wakeup_of(args[0]);
    owngil_parking_watch(*wakeup);
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
    owngil_lease_settle();
    return wrap_transfer(state, owngil_transfer_receive(queue_of(self), wakeup, key));
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
    owngil_message *message = owngil_message_from_parts(state, 0, 0, args[2]);
    if (message == NULL) {
        return NULL;
    }
    owngil_transfer *transfer = owngil_transfer_send(queue_of(self), message, wakeup, key);
    owngil_shared_release(&message->base);
    return wrap_transfer(state, transfer);
}

static void
transfer_dealloc(PyObject *self)
{
    /* While there is a reference: who serves it takes another one. */
    (void)owngil_transfer_undo(transfer_of(self));
    owngil_wrapper_dealloc(self);
}

PyDoc_STRVAR(check_doc,
"check()\n--\n\n"
"Return whether the transfer is done; raise QueueClosed if it failed.");

static PyObject *
transfer_check(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_code code;
    if (!owngil_transfer_is_done(transfer_of(self), &code)) {
        Py_RETURN_FALSE;
    }
    if (code == OWNGIL_CLOSED || code == OWNGIL_FOREIGN) {
        return owngil_errors_raise(code, owngil_state_of(Py_TYPE(self))->queue_closed);
    }
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(withdraw_doc,
"withdraw()\n--\n\n"
"True if nothing had been done yet, and nothing will be.");

static PyObject *
transfer_withdraw(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(owngil_transfer_withdraw(transfer_of(self)));
}

PyDoc_STRVAR(undo_doc,
"undo()\n--\n\n"
"Put a received message back, or take back one that was sent and not received; without effect once the transfer is\n"
"confirmed or undone. True if it is as if it had never been.");

static PyObject *
transfer_undo(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(owngil_transfer_undo(transfer_of(self)));
}

static PyObject *
transfer_get_parts(PyObject *self, void *Py_UNUSED(closure))
{
    owngil_transfer *transfer = transfer_of(self);
    owngil_code code;
    owngil_message *message = NULL;
    if (!transfer->settled && owngil_transfer_is_done(transfer, &code)) {
        message = owngil_transfer_message(transfer);
    }
    if (message == NULL) {
        PyErr_SetString(PyExc_AttributeError, "the transfer has brought no message, or has it no longer");
        return NULL;
    }
    return owngil_message_to_parts(owngil_state_of(Py_TYPE(self)), message, false);
}

static PyObject *
transfer_get_confirmed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(transfer_of(self)->settled);
}

static int
transfer_set_confirmed(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    owngil_transfer *transfer = transfer_of(self);
    owngil_code code;
    if (value != Py_True || !owngil_transfer_is_done(transfer, &code)) {
        PyErr_SetString(PyExc_ValueError, "only a transfer that is done can be confirmed, and only by True");
        return -1;
    }
    owngil_transfer_confirm(transfer);
    return 0;
}

static PyMethodDef transfer_methods[] = {
    {"check", transfer_check, METH_NOARGS, check_doc},
    {"withdraw", transfer_withdraw, METH_NOARGS, withdraw_doc},
    {"undo", transfer_undo, METH_NOARGS, undo_doc},
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
    {Py_tp_doc, (void *)"A message's way into or out of a queue, which can be undone until it is confirmed."},
    {Py_tp_dealloc, transfer_dealloc},
    {Py_tp_methods, transfer_methods},
    {Py_tp_getset, transfer_getset},
    {0, NULL},
};

PyType_Spec owngil_transfer_spec = {
    .name = "owngil._core.Transfer",
    .basicsize = sizeof(owngil_wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = transfer_slots,
};

static PyObject *
wakeup_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Wakeup", names)) {
        return NULL;
    }
    owngil_wakeup *wakeup = owngil_wakeup_new();
    if (wakeup == NULL) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return owngil_wrap(type, &wakeup->base);
}

static void
wakeup_dealloc(PyObject *self)
{
    owngil_parking_forget(wakeup_of(self));
    owngil_wakeup_close(wakeup_of(self));
    owngil_wrapper_dealloc(self);
}

static PyObject *
wakeup_fileno(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return PyLong_FromLong(wakeup_of(self)->fd);
}

PyDoc_STRVAR(take_doc,
"take()\n--\n\n"
"Return the keys of the transfers that are done since the last call, in that order; the descriptor is not ready any more.");

static PyObject *
wakeup_take(PyObject *self, PyObject *Py_UNUSED(unused))
{
    PyObject *keys = PyList_New(0);
    if (keys == NULL) {
        return NULL;
    }
    owngil_waiter *at = owngil_wakeup_take(wakeup_of(self));
    while (at != NULL) {
        owngil_transfer *transfer = owngil_transfer_of_waiter(at);
        at = at->next;
        PyObject *key = keys != NULL ? PyLong_FromUnsignedLongLong(transfer->key) : NULL;
        if (keys != NULL && (key == NULL || PyList_Append(keys, key) < 0)) {
            Py_CLEAR(keys); /* without memory, some coroutines stay asleep */
        }
        Py_XDECREF(key);
        owngil_shared_release(&transfer->base);
    }
    return keys;
}

static PyObject *
wakeup_watch(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_parking_watch(wakeup_of(self));
    Py_RETURN_NONE;
}

static PyMethodDef wakeup_methods[] = {
    {"fileno", wakeup_fileno, METH_NOARGS, "fileno()\n--\n\nThe descriptor to watch, which is ready when take() has something."},
    {"take", wakeup_take, METH_NOARGS, take_doc},
    {"watch", wakeup_watch, METH_NOARGS, "watch()\n--\n\nLet interrupts of this thread's task, if it is a worker's, wake the loop."},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot wakeup_slots[] = {
    {Py_tp_doc, (void *)"Wakeup()\n--\n\nTells an event loop which transfers are done."},
    {Py_tp_new, wakeup_new},
    {Py_tp_dealloc, wakeup_dealloc},
    {Py_tp_methods, wakeup_methods},
    {0, NULL},
};

PyType_Spec owngil_wakeup_spec = {
    .name = "owngil._core.Wakeup",
    .basicsize = sizeof(owngil_wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = wakeup_slots,
};
