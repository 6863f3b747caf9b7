/* owngil.Lock: a process-wide semaphore with one permit, seen from one interpreter.
 *
 * This is the public class itself, not the core of a class in Python; so are the classes of semaphore.c. Between an
 * __enter__ in Python and the body of the `with`, KeyboardInterrupt could be raised, and then no code would release the
 * lock. (Since 3.14 CPython itself has such a gap, in the moment in which any __enter__ returns.)
 */
#include "bindings/semaphore.h"
#include "sync/semaphore.h"

PyDoc_STRVAR(lock_doc,
"Lock()\n--\n\n"
"A lock for threads of all interpreters of this process; otherwise like `threading.Lock`.\n\n"
"You can send it as an argument, in a result or through a channel, or use it in a function that you send. All copies\n"
"are the same lock and compare equal. It lives as long as any of them.\n\n"
"Notes\n"
"-----\n"
"Waiting threads get the lock in the order in which they came. A running thread may overtake one that must first be\n"
"woken; but once a thread has waited for a millisecond, the lock is handed to it.\n\n"
"Any thread of any interpreter may release the lock. Closing the interpreter of the thread that holds it does not\n"
"release it: it stays locked until a thread releases it.\n\n"
"A forked process has another lock, in the state of that moment. If another thread than the forking one held it, for\n"
"example a worker's, no thread there will ever release it: waiting for it without a timeout raises RuntimeError.\n"
"Permits of semaphores that such threads hold do not come back either, and no error says so; a barrier at which other\n"
"threads wait is broken there.\n\n"
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
    return owngil_wrap(type, (owngil_refcounted *)owngil_semaphore_new(OWNGIL_KIND_LOCK, 1, 1));
}

PyDoc_STRVAR(lock_acquire_doc,
"acquire($self, /, blocking=True, timeout=-1)\n--\n\n"
"Acquire the lock, and return whether that succeeded.\n\n"
"Parameters\n"
"----------\n"
"blocking : bool, optional\n"
"    Whether to wait while the lock is held.\n"
"timeout : float, optional\n"
"    Seconds to wait. -1 or None: as long as it takes.\n\n"
"Raises\n"
"------\n"
"ValueError\n"
"    If `timeout` is another negative number, or if it is given and `blocking` is false.\n"
"RuntimeError\n"
"    In a forked process, if the lock was held by a thread that is not there.\n"
"KeyboardInterrupt\n"
"    On Ctrl-C or `Interpreter.interrupt` during the wait; the lock was not acquired.\n");

PyDoc_STRVAR(lock_release_doc,
"release($self, /)\n--\n\n"
"Release the lock, whichever thread holds it.\n\n"
"Raises\n"
"------\n"
"RuntimeError\n"
"    If it is not locked.\n");

static PyObject *
lock_release(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return owngil_semaphore_release_or_raise(self, 1);
}

PyDoc_STRVAR(lock_locked_doc,
"locked($self, /)\n--\n\n"
"Return whether the lock is held.");

OWNGIL_DEFINE_METHOD(lock_locked, owngil_semaphore, PyBool_FromLong, owngil_semaphore_value(self) == 0)

static PyObject *
lock_repr(PyObject *self)
{
    owngil_semaphore *semaphore = OWNGIL_UNWRAP(owngil_semaphore, self);
    return PyUnicode_FromFormat("<owngil.Lock %s, %zu waiting>",
                                owngil_semaphore_value(semaphore) == 0 ? "locked" : "unlocked",
                                owngil_waitable_waiting(&semaphore->waitable));
}

static PyMethodDef lock_methods[] = {
    {"acquire", OWNGIL_FAST(owngil_semaphore_acquire_method) | METH_KEYWORDS, lock_acquire_doc},
    {"release", lock_release, METH_NOARGS, lock_release_doc},
    {"locked", lock_locked, METH_NOARGS, lock_locked_doc},
    {"__enter__", owngil_semaphore_enter, METH_NOARGS},
    {"__exit__", OWNGIL_FAST(owngil_semaphore_exit)},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS},
    {NULL},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, (void *)lock_doc}, {Py_tp_new, lock_new}, {Py_tp_methods, lock_methods},
    {Py_tp_repr, lock_repr},       OWNGIL_HANDLE_SLOTS,   {0},
};

OWNGIL_DEFINE_TYPE(lock, "owngil.Lock", owngil_wrapper, 0, lock_slots, OWNGIL_SYNC_TYPE(LOCK))
