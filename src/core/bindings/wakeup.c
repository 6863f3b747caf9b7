/* owngil._core.Wakeup; see messaging/wakeup.h. */
#include "bindings/wrapper.h"
#include "messaging/wakeup.h"
#include "sync/parking.h"

static owngil_wakeup *
wakeup_of(PyObject *self)
{
    return (owngil_wakeup *)((owngil_wrapper *)self)->shared;
}

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
    owngil_parking_forget(&wakeup_of(self)->base);
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
    owngil_wakeup_entry *next = owngil_wakeup_take(wakeup_of(self));
    while (next != NULL) {
        owngil_wakeup_entry *entry = next;
        next = entry->next;
        PyObject *key = keys != NULL ? PyLong_FromUnsignedLongLong(entry->key) : NULL;
        if (keys != NULL && (key == NULL || PyList_Append(keys, key) < 0)) {
            Py_CLEAR(keys); /* without memory, some coroutines stay asleep */
        }
        Py_XDECREF(key);
        owngil_refcount_release(entry->object);
    }
    return keys;
}

static PyObject *
wakeup_watch(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_parking_watch(&wakeup_of(self)->base, owngil_wakeup_wake_loop);
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

static PyType_Spec spec = {
    .name = "owngil._core.Wakeup",
    .basicsize = sizeof(owngil_wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = wakeup_slots,
};

int
owngil_add_wakeup(PyObject *module, owngil_state *state)
{
    return owngil_wrapper_add_type(module, &spec, &state->wakeup_type);
}
