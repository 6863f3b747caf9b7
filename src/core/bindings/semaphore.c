/* owngil.Semaphore and BoundedSemaphore, and how one is acquired: a process-wide semaphore seen from one interpreter. */
#include "bindings/semaphore.h"

#include "bindings/args.h"
#include "bindings/wait.h"
#include "sync/semaphore.h"

PyObject *
owngil_semaphore_make(PyTypeObject *type, owngil_kind kind, int64_t value, int64_t limit)
{
    owngil_semaphore *semaphore = owngil_semaphore_new(kind, value, limit);
    return semaphore != NULL ? owngil_wrap(type, &semaphore->base) : PyErr_NoMemory();
}

/* Waits for a permit. Returns 1 with it; 0 if the time is over; -1 with the exception set that a signal handler or
 * Worker.interrupt() raised: a permit that came in that moment has gone to the next waiter. Needs the GIL, and lets go
 * of it. */
static int
wait_for_permit(owngil_semaphore *semaphore, owngil_deadline deadline)
{
    if (deadline == OWNGIL_DEADLINE_NEVER && owngil_semaphore_is_lost(semaphore)) {
        PyErr_SetString(
            PyExc_RuntimeError,
            "the lock was held by another thread, maybe a worker's, when this process was forked: that thread is"
            " not here, and will never release it. Make a new lock here, or hold it while you fork");
        return -1;
    }
    for (;;) {
        owngil_status code;
        owngil_wait_begin();
        Py_BEGIN_ALLOW_THREADS
        code = owngil_semaphore_acquire(semaphore, deadline);
        Py_END_ALLOW_THREADS
        /* Whatever came of it, an exception that is due is raised here, where the permit can be given back: after
         * acquire() has returned, there is no `try` around it yet. */
        if (owngil_wait_end_to_undo(code) < 0) {
            if (code == OWNGIL_OK) {
                (void)owngil_semaphore_release(semaphore, 1);
            }
            return -1;
        }
        if (code != OWNGIL_INTERRUPTED) {
            return code == OWNGIL_OK;
        }
    }
}

PyObject *
owngil_semaphore_acquire_method(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames,
                                bool forever)
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
    owngil_deadline deadline = OWNGIL_DEADLINE_NEVER;
    if (values[1] != Py_None) {
        double seconds = forever ? PyFloat_AsDouble(values[1]) : 0.0;
        if (seconds == -1.0 && PyErr_Occurred()) {
            return NULL;
        }
        if (seconds != -1.0) {
            if (!blocking) {
                PyErr_SetString(PyExc_ValueError, "can't specify a timeout for a non-blocking call");
                return NULL;
            }
            if ((forever ? owngil_args_timeout : owngil_args_timeout_or_passed)(values[1], &deadline) < 0) {
                return NULL;
            }
        }
    }
    if (owngil_semaphore_try_acquire(semaphore)) {
        Py_RETURN_TRUE;
    }
    int got = blocking && deadline != OWNGIL_DEADLINE_NOW ? wait_for_permit(semaphore, deadline) : 0;
    return got < 0 ? NULL : PyBool_FromLong(got);
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

PyDoc_STRVAR(semaphore_doc,
"Semaphore(value=1)\n--\n\n"
"A number of permits for threads of any interpreter of this process; otherwise as `threading.Semaphore`.\n\n"
"It is passed as an argument, in a result or through a channel, or used by a function that is sent; all copies are the\n"
"same semaphore, and equal. It lives as long as any of them.\n\n"
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
"Waiters get their permits in the order they came; see `Lock` for how strictly. Permits that an interpreter holds when it\n"
"is closed are not given back by themselves.\n\n"
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

PyDoc_STRVAR(bounded_doc,
"BoundedSemaphore(value=1)\n--\n\n"
"A `Semaphore` that takes no more permits back than it had at first.\n\n"
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

/* Returns 0 with the one argument of the constructors, or -1 with an exception set. */
static int
parse_value(PyObject *args, PyObject *kwargs, const char *format, int64_t *value)
{
    PyObject *object = NULL;
    static char *names[] = {"value", NULL};
    *value = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &object)) {
        return -1;
    }
    return object != NULL ? permits_from_object(object, "value", 0, value) : 0;
}

static PyObject *
semaphore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    int64_t value;
    if (parse_value(args, kwargs, "|O:Semaphore", &value) < 0) {
        return NULL;
    }
    return owngil_semaphore_make(type, OWNGIL_KIND_SEMAPHORE, value, OWNGIL_SEMAPHORE_MAX);
}

static PyObject *
bounded_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    int64_t value;
    if (parse_value(args, kwargs, "|O:BoundedSemaphore", &value) < 0) {
        return NULL;
    }
    return owngil_semaphore_make(type, OWNGIL_KIND_BOUNDED_SEMAPHORE, value, value);
}

PyDoc_STRVAR(semaphore_acquire_doc,
"acquire($self, /, blocking=True, timeout=None)\n--\n\n"
"Get a permit, and return whether one was got.\n\n"
"Parameters\n"
"----------\n"
"blocking : bool, optional\n"
"    Whether to wait while there is none.\n"
"timeout : float, optional\n"
"    Seconds to wait. Default: as long as it takes.\n\n"
"Raises\n"
"------\n"
"ValueError\n"
"    If `timeout` is given without `blocking`.\n"
"KeyboardInterrupt\n"
"    On Ctrl-C, or `Interpreter.interrupt`, during the wait; no permit was got.\n");

static PyObject *
semaphore_acquire(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    return owngil_semaphore_acquire_method(self, args, count, kwnames, false);
}

/* Returns None, or NULL with the exception set that says which limit there is. */
static PyObject *
give_back(PyObject *self, int64_t permits)
{
    owngil_semaphore *semaphore = OWNGIL_UNWRAP(owngil_semaphore, self);
    if (owngil_semaphore_release(semaphore, permits)) {
        Py_RETURN_NONE;
    }
    if (semaphore->base.kind == OWNGIL_KIND_BOUNDED_SEMAPHORE) {
        PyErr_SetString(PyExc_ValueError, "semaphore released too many times");
    }
    else {
        PyErr_SetString(PyExc_OverflowError, "a semaphore cannot have 2**62 permits");
    }
    return NULL;
}

PyDoc_STRVAR(semaphore_release_doc,
"release($self, /, n=1)\n--\n\n"
"Give permits back; whoever waits for them gets them.\n\n"
"Parameters\n"
"----------\n"
"n : int, optional\n"
"    How many.\n\n"
"Raises\n"
"------\n"
"ValueError\n"
"    If `n` is below 1, or a bounded semaphore were given more than it had at first.\n"
"OverflowError\n"
"    If an unbounded one were given more than 2**62 - 1.\n");

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
    return give_back(self, permits);
}

static PyObject *
semaphore_exit(PyObject *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(count))
{
    return give_back(self, 1);
}

static PyObject *
semaphore_repr(PyObject *self)
{
    owngil_semaphore *semaphore = OWNGIL_UNWRAP(owngil_semaphore, self);
    return PyUnicode_FromFormat("<%s value=%lld, %zu waiting>", Py_TYPE(self)->tp_name,
                                (long long)owngil_semaphore_value(semaphore), owngil_semaphore_waiting(semaphore));
}

static PyMethodDef semaphore_methods[] = {
    {"acquire", OWNGIL_FAST(semaphore_acquire) | METH_KEYWORDS, semaphore_acquire_doc},
    {"release", OWNGIL_FAST(semaphore_release) | METH_KEYWORDS, semaphore_release_doc},
    {"__enter__", owngil_semaphore_enter, METH_NOARGS, NULL},
    {"__exit__", OWNGIL_FAST(semaphore_exit), NULL},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, (void *)semaphore_doc},
    {Py_tp_new, semaphore_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_repr, semaphore_repr},
    {Py_tp_richcompare, owngil_wrapper_compare},
    {Py_tp_hash, owngil_wrapper_hash},
    {0, NULL},
};

static PyType_Spec semaphore_spec = {
    .name = "owngil.Semaphore",
    .basicsize = sizeof(owngil_wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = semaphore_slots,
};

static PyType_Slot bounded_slots[] = {
    {Py_tp_doc, (void *)bounded_doc},
    {Py_tp_new, bounded_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_repr, semaphore_repr},
    {Py_tp_richcompare, owngil_wrapper_compare},
    {Py_tp_hash, owngil_wrapper_hash},
    {0, NULL},
};

static PyType_Spec bounded_spec = {
    .name = "owngil.BoundedSemaphore",
    .basicsize = sizeof(owngil_wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = bounded_slots,
};

int
owngil_add_semaphore(PyObject *module, owngil_state *state)
{
    return owngil_wrapper_add_type(module, &semaphore_spec, &state->OWNGIL_SYNC_TYPE(SEMAPHORE)) < 0
                   || owngil_wrapper_add_type(module, &bounded_spec, &state->OWNGIL_SYNC_TYPE(BOUNDED_SEMAPHORE)) < 0
               ? -1
               : 0;
}
