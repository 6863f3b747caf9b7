/* owngil.Semaphore and BoundedSemaphore, by which one interpreter uses a semaphore of the process; and acquire(), which
 * locks share. */
#include "bindings/semaphore.h"

#include "bindings/args.h"
#include "bindings/wait.h"
#include "sync/semaphore.h"

/* Waits for a permit. Returns 1 with it; 0 on timeout; or -1 with the exception set that a signal handler or
 * Worker.interrupt() raised: a permit that came in that moment has gone to the next waiter. Needs the GIL, and releases
 * it. */
static int
wait_for_permit(owngil_semaphore *semaphore, owngil_deadline deadline)
{
    if (deadline == OWNGIL_DEADLINE_NEVER && owngil_semaphore_is_lost(semaphore)) {
        PyErr_SetString(
            PyExc_RuntimeError,
            "the lock was held by another thread, maybe a worker's, when this process was forked: that thread is"
            " not here and will never release it. Make a new lock here, or hold it while you fork");
        return -1;
    }
    int failed;
    owngil_status code;
    OWNGIL_WAIT_TO_UNDO(failed, code, owngil_semaphore_acquire(semaphore, deadline));
    if (failed < 0) {
        /* Give the permit back here: after acquire() has returned, there is no `try` around it yet. */
        if (code == OWNGIL_OK) {
            (void)owngil_semaphore_release(semaphore, 1);
        }
        return -1;
    }
    return code == OWNGIL_OK;
}

PyObject *
owngil_semaphore_acquire_method(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    owngil_semaphore *semaphore = OWNGIL_UNWRAP(owngil_semaphore, self);
    if (count == 0 && kwnames == NULL && owngil_semaphore_try_acquire(semaphore)) {
        Py_RETURN_TRUE;
    }
    static const char *const names[] = {"blocking", "timeout", NULL};
    PyObject *values[] = {Py_True, Py_None};
    if (owngil_args_parse("acquire", names, values, args, count, kwnames) < 0) {
        return NULL;
    }
    int blocking = PyObject_IsTrue(values[0]);
    if (blocking < 0) {
        return NULL;
    }
    PyObject *timeout = values[1];
    bool is_lock = semaphore->waitable.base.kind == OWNGIL_KIND_LOCK;
    if (is_lock && timeout != Py_None) {
        double seconds = PyFloat_AsDouble(timeout);
        if (seconds == -1.0) {
            if (PyErr_Occurred()) {
                return NULL;
            }
            timeout = Py_None;
        }
    }
    if (!blocking && timeout != Py_None) {
        return PyErr_Format(PyExc_ValueError, "can't specify a timeout for a non-blocking call");
    }
    owngil_deadline deadline;
    if (owngil_args_timeout(timeout, !is_lock, &deadline) < 0) {
        return NULL;
    }
    if (owngil_semaphore_try_acquire(semaphore)) {
        Py_RETURN_TRUE;
    }
    int acquired = blocking && deadline != OWNGIL_DEADLINE_NOW ? wait_for_permit(semaphore, deadline) : 0;
    return acquired < 0 ? NULL : PyBool_FromLong(acquired);
}

PyObject *
owngil_semaphore_release_or_raise(PyObject *self, int64_t permits)
{
    owngil_semaphore *semaphore = OWNGIL_UNWRAP(owngil_semaphore, self);
    if (owngil_semaphore_release(semaphore, permits)) {
        Py_RETURN_NONE;
    }
    switch (semaphore->waitable.base.kind) {
    case OWNGIL_KIND_LOCK:
        return PyErr_Format(PyExc_RuntimeError, "release unlocked lock");
    case OWNGIL_KIND_BOUNDED_SEMAPHORE:
        return PyErr_Format(PyExc_ValueError, "semaphore released too many times");
    default:
        return PyErr_Format(PyExc_OverflowError, "a semaphore cannot have 2**62 permits");
    }
}

PyObject *
owngil_semaphore_enter(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_semaphore *semaphore = OWNGIL_UNWRAP(owngil_semaphore, self);
    if (!owngil_semaphore_try_acquire(semaphore) && wait_for_permit(semaphore, OWNGIL_DEADLINE_NEVER) < 0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

PyObject *
owngil_semaphore_exit(PyObject *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(count))
{
    return owngil_semaphore_release_or_raise(self, 1);
}

PyDoc_STRVAR(semaphore_doc,
"Semaphore(value=1)\n--\n\n"
"A number of permits for threads of all interpreters of this process; otherwise like `threading.Semaphore`.\n\n"
"You can send it as an argument, in a result or through a channel, or use it in a function that you send. All copies\n"
"are the same semaphore and compare equal. It lives as long as any of them.\n\n"
"Parameters\n"
"----------\n"
"value : int, optional\n"
"    How many permits there are at first.\n\n"
"Raises\n"
"------\n"
"ValueError\n"
"    If `value` is negative.\n"
"OverflowError\n"
"    If it is above 2**62 - 1.\n\n"
"Notes\n"
"-----\n"
"Waiting threads get their permits in the order in which they came; see `Lock` for how strict that is. Closing an\n"
"interpreter does not release the permits that it holds.\n\n"
"Examples\n"
"--------\n"
"No more than two workers read at a time:\n\n"
">>> readers = owngil.Semaphore(2)\n"
">>> def read(k):\n"
"...     with readers:\n"
"...         return k\n"
">>> with owngil.Pool(4) as pool:\n"
"...     print(list(pool.map(read, range(4))))\n"
"[0, 1, 2, 3]\n");

PyDoc_STRVAR(bounded_semaphore_doc,
"BoundedSemaphore(value=1)\n--\n\n"
"A `Semaphore` that never has more permits than at first.\n\n"
"Parameters\n"
"----------\n"
"value : int, optional\n"
"    How many permits there are.\n\n"
"Raises\n"
"------\n"
"ValueError\n"
"    If `value` is negative.\n"
"OverflowError\n"
"    If it is above 2**62 - 1.\n\n"
"Examples\n"
"--------\n"
">>> semaphore = owngil.BoundedSemaphore(2)\n"
">>> semaphore.acquire()\n"
"True\n"
">>> semaphore.release()\n"
">>> semaphore.release()\n"
"Traceback (most recent call last):\n"
"  ...\n"
"ValueError: semaphore released too many times\n");

/* Reads a number of permits. Returns 0, or -1 with TypeError, OverflowError or, below `least`, ValueError set. */
static int
permits_from_object(PyObject *object, const char *name, int64_t least, int64_t *permits)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (number == -1 && overflow == 0 && PyErr_Occurred()) {
        return -1;
    }
    if (overflow < 0 || (overflow == 0 && number < least)) {
        PyErr_Format(PyExc_ValueError, "%s must be %lld or more, not %R", name, (long long)least, object);
        return -1;
    }
    if (overflow > 0 || number > OWNGIL_SEMAPHORE_MAX) {
        PyErr_Format(PyExc_OverflowError, "%s must be below 2**62, not %R", name, object);
        return -1;
    }
    *permits = number;
    return 0;
}

/* tp_new of both classes; `format` is for their one argument. */
static PyObject *
new_of_kind(PyTypeObject *type, PyObject *args, PyObject *kwargs, const char *format, owngil_kind kind)
{
    static char *names[] = {"value", NULL};
    PyObject *object = NULL;
    int64_t value = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &object)
        || (object != NULL && permits_from_object(object, "value", 0, &value) < 0)) {
        return NULL;
    }
    int64_t limit = kind == OWNGIL_KIND_BOUNDED_SEMAPHORE ? value : OWNGIL_SEMAPHORE_MAX;
    return owngil_wrap(type, (owngil_refcounted *)owngil_semaphore_new(kind, value, limit));
}

static PyObject *
semaphore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return new_of_kind(type, args, kwargs, "|O:Semaphore", OWNGIL_KIND_SEMAPHORE);
}

static PyObject *
bounded_semaphore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return new_of_kind(type, args, kwargs, "|O:BoundedSemaphore", OWNGIL_KIND_BOUNDED_SEMAPHORE);
}

PyDoc_STRVAR(semaphore_acquire_doc,
"acquire($self, /, blocking=True, timeout=None)\n--\n\n"
"Acquire a permit, and return whether that succeeded.\n\n"
"Parameters\n"
"----------\n"
"blocking : bool, optional\n"
"    Whether to wait while there is none.\n"
"timeout : float, optional\n"
"    Seconds to wait. Default: as long as it takes.\n\n"
"Raises\n"
"------\n"
"ValueError\n"
"    If `timeout` is given and `blocking` is false.\n"
"KeyboardInterrupt\n"
"    On Ctrl-C or `Interpreter.interrupt` during the wait; no permit was acquired.\n");

PyDoc_STRVAR(semaphore_release_doc,
"release($self, /, n=1)\n--\n\n"
"Release permits; threads that wait for permits get them.\n\n"
"Parameters\n"
"----------\n"
"n : int, optional\n"
"    How many.\n\n"
"Raises\n"
"------\n"
"ValueError\n"
"    If `n` is below 1, or if a bounded semaphore would have more permits than at first.\n"
"OverflowError\n"
"    If another semaphore would have more than 2**62 - 1.\n");

static PyObject *
semaphore_release(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    int64_t permits = 1;
    if (count != 0 || kwnames != NULL) {
        static const char *const names[] = {"n", NULL};
        PyObject *value = NULL;
        if (owngil_args_parse("release", names, &value, args, count, kwnames) < 0
            || (value != NULL && permits_from_object(value, "n", 1, &permits) < 0)) {
            return NULL;
        }
    }
    return owngil_semaphore_release_or_raise(self, permits);
}

static PyObject *
semaphore_repr(PyObject *self)
{
    owngil_semaphore *semaphore = OWNGIL_UNWRAP(owngil_semaphore, self);
    return PyUnicode_FromFormat("<%s value=%lld, %zu waiting>", Py_TYPE(self)->tp_name,
                                (long long)owngil_semaphore_value(semaphore),
                                owngil_waitable_waiting(&semaphore->waitable));
}

static PyMethodDef semaphore_methods[] = {
    {"acquire", OWNGIL_FAST(owngil_semaphore_acquire_method) | METH_KEYWORDS, semaphore_acquire_doc},
    {"release", OWNGIL_FAST(semaphore_release) | METH_KEYWORDS, semaphore_release_doc},
    {"__enter__", owngil_semaphore_enter, METH_NOARGS},
    {"__exit__", OWNGIL_FAST(owngil_semaphore_exit)},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS},
    {NULL},
};

#define SEMAPHORE_SLOTS(name) \
    static PyType_Slot name##_slots[] = { \
        {Py_tp_doc, (void *)name##_doc}, {Py_tp_new, name##_new}, {Py_tp_methods, semaphore_methods}, \
        {Py_tp_repr, semaphore_repr},    OWNGIL_HANDLE_SLOTS,     {0}, \
    };

SEMAPHORE_SLOTS(semaphore)
OWNGIL_DEFINE_TYPE(semaphore, "owngil.Semaphore", owngil_wrapper, 0, semaphore_slots, OWNGIL_SYNC_TYPE(SEMAPHORE))

SEMAPHORE_SLOTS(bounded_semaphore)
OWNGIL_DEFINE_TYPE(bounded_semaphore, "owngil.BoundedSemaphore", owngil_wrapper, 0, bounded_semaphore_slots,
                   OWNGIL_SYNC_TYPE(BOUNDED_SEMAPHORE))
