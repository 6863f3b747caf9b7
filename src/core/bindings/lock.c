/* owngil.Lock: a process-wide semaphore with one permit, seen from one interpreter.
 *
 * It is the public class itself, as are those of semaphore_type.c, and not the core of a class in Python. An __enter__ in
 * Python would be where KeyboardInterrupt can be raised between getting the lock and the body of the `with`, so that nobody
 * releases it. (Since 3.14 CPython has such a place itself, in the moment in which any __enter__ returns.)
 */
#include "bindings/semaphore.h"
#include "sync/semaphore.h"

PyDoc_STRVAR(lock_doc,
"Lock()\n--\n\n"
"A lock that threads of any interpreter of this process can hold, one at a time; otherwise as `threading.Lock`.\n\n"
"It is passed as an argument, in a result or through a channel, or used by a function that is sent; all copies are the\n"
"same lock, and equal. It lives as long as any of them.\n\n"
"Notes\n"
"-----\n"
"Waiters get it in the order they came. A thread that is running already may be quicker than one that must first be\n"
"woken, but once a waiter has waited for a millisecond, the lock is handed over to it.\n\n"
"Any thread of any interpreter may release it. It is not released by itself when its holder's interpreter is closed: it\n"
"stays locked until somebody releases it.\n\n"
"In a forked process it is another lock, in the state of that moment. If a thread held it that did not fork, a worker's\n"
"for one, nobody will release it there: waiting for it without a timeout raises RuntimeError. Permits of semaphores that\n"
"such threads hold do not come back either, and nobody knows of it; a barrier at which others wait is broken there.\n\n"
"Examples\n"
"--------\n"
">>> lock = owngil.Lock()\n"
">>> with owngil.Interpreter() as it:\n"
"...     with lock:\n"
"...         it.call(lambda: lock.acquire(timeout=0.01))\n"
"...     it.call(lambda: lock.acquire(timeout=0.01))\n"
"False\n"
"True\n"
">>> lock.locked()\n"
"True\n"
">>> lock.release()\n");

static PyObject *
lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Lock", names)) {
        return NULL;
    }
    return owngil_semaphore_make(type, OWNGIL_KIND_LOCK, 1, 1);
}

PyDoc_STRVAR(lock_acquire_doc,
"acquire($self, /, blocking=True, timeout=-1)\n--\n\n"
"Get the lock, and return whether it was got.\n\n"
"Parameters\n"
"----------\n"
"blocking : bool, optional\n"
"    Whether to wait while the lock is held.\n"
"timeout : float, optional\n"
"    Seconds to wait. -1 or None: as long as it takes.\n\n"
"Raises\n"
"------\n"
"ValueError\n"
"    If `timeout` is another negative number, or is given without `blocking`.\n"
"RuntimeError\n"
"    In a forked process, if the lock was held by a thread that is not there.\n"
"KeyboardInterrupt\n"
"    On Ctrl-C, or `Interpreter.interrupt`, during the wait; the lock was not got.\n");

static PyObject *
lock_acquire(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    return owngil_semaphore_acquire_method(self, args, count, kwnames, true);
}

PyDoc_STRVAR(lock_release_doc,
"release($self, /)\n--\n\n"
"Release the lock, whoever holds it.\n\n"
"Raises\n"
"------\n"
"RuntimeError\n"
"    If it is not locked.\n");

static PyObject *
lock_release(PyObject *self, PyObject *Py_UNUSED(unused))
{
    if (!owngil_semaphore_release(OWNGIL_UNWRAP(owngil_semaphore, self), 1)) {
        PyErr_SetString(PyExc_RuntimeError, "release unlocked lock");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
lock_exit(PyObject *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(count))
{
    return lock_release(self, NULL);
}

PyDoc_STRVAR(lock_locked_doc,
"locked($self, /)\n--\n\n"
"Return whether somebody holds the lock.");

static PyObject *
lock_locked(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(owngil_semaphore_value(OWNGIL_UNWRAP(owngil_semaphore, self)) == 0);
}

static PyObject *
lock_repr(PyObject *self)
{
    owngil_semaphore *semaphore = OWNGIL_UNWRAP(owngil_semaphore, self);
    return PyUnicode_FromFormat("<owngil.Lock %s, %zu waiting>",
                                owngil_semaphore_value(semaphore) == 0 ? "locked" : "unlocked",
                                owngil_semaphore_waiting(semaphore));
}

static PyMethodDef lock_methods[] = {
    {"acquire", OWNGIL_FAST(lock_acquire) | METH_KEYWORDS, lock_acquire_doc},
    {"release", lock_release, METH_NOARGS, lock_release_doc},
    {"locked", lock_locked, METH_NOARGS, lock_locked_doc},
    {"__enter__", owngil_semaphore_enter, METH_NOARGS, NULL},
    {"__exit__", OWNGIL_FAST(lock_exit), NULL},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, (void *)lock_doc},
    {Py_tp_new, lock_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, lock_methods},
    {Py_tp_repr, lock_repr},
    {Py_tp_richcompare, owngil_wrapper_compare},
    {Py_tp_hash, owngil_wrapper_hash},
    {0, NULL},
};

OWNGIL_DEFINE_TYPE(lock, "owngil.Lock", owngil_wrapper, 0, lock_slots, OWNGIL_SYNC_TYPE(LOCK))
