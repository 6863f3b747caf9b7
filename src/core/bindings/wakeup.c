/* owngil._core.Wakeup; see messaging/wakeup.h. */
#include "messaging/wakeup.h"
#include "bindings/wrapper.h"
#include "sync/parking.h"

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
    owngil_parking_forget(&OWNGIL_UNWRAP(owngil_wakeup, self)->base);
    owngil_wakeup_close(OWNGIL_UNWRAP(owngil_wakeup, self));
    owngil_wrapper_dealloc(self);
}

static PyObject *
wakeup_fileno(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return PyLong_FromLong(OWNGIL_UNWRAP(owngil_wakeup, self)->fd);
}

/* take(): return the keys of the transfers that are done since the last call, in that order; the descriptor is not
 * ready any more. */
static PyObject *
wakeup_take(PyObject *self, PyObject *Py_UNUSED(unused))
{
    PyObject *keys = PyList_New(0);
    if (keys == NULL) {
        return NULL;
    }
    owngil_wakeup_entry *next = owngil_wakeup_take(OWNGIL_UNWRAP(owngil_wakeup, self));
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
    owngil_parking_watch(&OWNGIL_UNWRAP(owngil_wakeup, self)->base, owngil_wakeup_wake_loop);
    Py_RETURN_NONE;
}

static PyMethodDef wakeup_methods[] = {
    {"fileno", wakeup_fileno, METH_NOARGS, NULL},
    {"take", wakeup_take, METH_NOARGS, NULL},
    {"watch", wakeup_watch, METH_NOARGS, NULL},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot wakeup_slots[] = {
    {Py_tp_new, wakeup_new},
    {Py_tp_dealloc, wakeup_dealloc},
    {Py_tp_methods, wakeup_methods},
    {0, NULL},
};

OWNGIL_DEFINE_TYPE(wakeup, "owngil._core.Wakeup", owngil_wrapper, 0, wakeup_slots, wakeup_type)
