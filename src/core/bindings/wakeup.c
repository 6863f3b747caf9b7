/* owngil._core.Wakeup: tells an event loop that transfers are done; see messaging/wakeup.h. */
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
    return wakeup != NULL ? owngil_wrap(type, &wakeup->base) : PyErr_SetFromErrno(PyExc_OSError);
}

static void
wakeup_dealloc(PyObject *self)
{
    owngil_parking_forget(&OWNGIL_UNWRAP(owngil_wakeup, self)->base);
    owngil_wakeup_close(OWNGIL_UNWRAP(owngil_wakeup, self));
    owngil_wrapper_dealloc(self);
}

OWNGIL_DEFINE_METHOD(wakeup_fileno, owngil_wakeup, PyLong_FromLong, self->fd)

/* take(): return the keys of the transfers that were done since the last call, in that order. The descriptor is no
 * longer ready. */
static PyObject *
wakeup_take(PyObject *self, PyObject *Py_UNUSED(unused))
{
    PyObject *keys = PyList_New(0);
    if (keys == NULL) {
        return NULL;
    }
    owngil_wakeup_entry *entry = owngil_wakeup_take(OWNGIL_UNWRAP(owngil_wakeup, self));
    while (entry != NULL) {
        owngil_wakeup_entry *next = entry->next;
        PyObject *key = keys != NULL ? PyLong_FromUnsignedLongLong(entry->key) : NULL;
        if (keys != NULL && (key == NULL || PyList_Append(keys, key) < 0)) {
            Py_CLEAR(keys); /* there is no memory: some coroutines will not wake up */
        }
        Py_XDECREF(key);
        owngil_refcount_release(entry->object);
        entry = next;
    }
    return keys;
}

/* watch(): let interrupts of this worker wake the event loop, which may wait on the calling thread from now on. Does
 * nothing outside of workers. */
static PyObject *
wakeup_watch(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_parking_watch(&OWNGIL_UNWRAP(owngil_wakeup, self)->base, owngil_wakeup_wake_loop);
    Py_RETURN_NONE;
}

static PyMethodDef wakeup_methods[] = {
    {"fileno", wakeup_fileno, METH_NOARGS},
    {"take", wakeup_take, METH_NOARGS},
    {"watch", wakeup_watch, METH_NOARGS},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS},
    {NULL},
};

static PyType_Slot wakeup_slots[] = {
    {Py_tp_new, wakeup_new},
    {Py_tp_dealloc, wakeup_dealloc},
    {Py_tp_methods, wakeup_methods},
    {0},
};

OWNGIL_DEFINE_TYPE(wakeup, "owngil._core.Wakeup", owngil_wrapper, 0, wakeup_slots, wakeup_type)
