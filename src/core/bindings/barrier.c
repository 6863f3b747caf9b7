/* The core of owngil.Barrier: a process-wide barrier seen from one interpreter. */
#include "sync/barrier.h"
#include "bindings/args.h"
#include "bindings/wait.h"
#include "bindings/wrapper.h"

/* Barrier(parties): what belongs to the process of an owngil.Barrier. */
static PyObject *
barrier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t parties;
    static char *names[] = {"parties", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n:Barrier", names, &parties)) {
        return NULL;
    }
    if (parties < 1) {
        PyErr_Format(PyExc_ValueError, "parties must be 1 or more, not %zd", parties);
        return NULL;
    }
    owngil_barrier *barrier = owngil_barrier_new((size_t)parties);
    return barrier != NULL ? owngil_wrap(type, &barrier->base) : PyErr_NoMemory();
}

/* Sets threading's own exception for a broken barrier, or MemoryError. Returns NULL. */
static PyObject *
raise_code(owngil_status code)
{
    if (code == OWNGIL_NO_MEMORY) {
        return PyErr_NoMemory();
    }
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *error = threading != NULL ? PyObject_GetAttrString(threading, "BrokenBarrierError") : NULL;
    if (error != NULL) {
        PyErr_SetString(error, code == OWNGIL_TIMEOUT ? "timed out: the barrier is broken now"
                                                      : "the barrier is broken, or was reset");
    }
    Py_XDECREF(error);
    Py_XDECREF(threading);
    return NULL;
}

/* wait(timeout=None, action=None): wait until all have come; the last one calls `action` before anybody goes on. */
static PyObject *
barrier_wait(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    owngil_barrier *barrier = OWNGIL_UNWRAP(owngil_barrier, self);
    owngil_meeting *meeting = NULL;
    bool last = false;
    owngil_deadline deadline;
    static const char *const names[] = {"timeout", "action", NULL};
    PyObject *values[] = {Py_None, Py_None};
    if (owngil_args_parse("wait", names, values, args, count, kwnames) < 0
        || owngil_args_timeout_or_passed(values[0], &deadline) < 0) {
        return NULL;
    }
    /* Only now and then somebody must wait to join. */
    owngil_status code = owngil_barrier_join(barrier, &meeting, &last, false, OWNGIL_DEADLINE_NOW);
    int failed = 0;
    while (!failed && code == OWNGIL_INTERRUPTED) {
        owngil_wait_begin();
        Py_BEGIN_ALLOW_THREADS
        code = owngil_barrier_join(barrier, &meeting, &last, true, deadline);
        Py_END_ALLOW_THREADS
        failed = owngil_wait_end_to_undo(code) < 0;
    }
    if (meeting == NULL) {
        return failed ? NULL : raise_code(code);
    }
    if (last) {
        /* An interrupt while it waited to join takes the place of the action: the others must not wait for ever. */
        PyObject *result = failed ? NULL : values[1] == Py_None ? Py_NewRef(Py_None) : PyObject_CallNoArgs(values[1]);
        failed = result == NULL;
        Py_XDECREF(result);
        code = owngil_barrier_end(barrier, meeting, failed);
    }
    else if (!failed) {
        do {
            owngil_wait_begin();
            Py_BEGIN_ALLOW_THREADS
            code = owngil_barrier_wait(barrier, meeting, deadline);
            Py_END_ALLOW_THREADS
            failed = owngil_wait_end_to_undo(code) < 0;
        } while (!failed && code == OWNGIL_INTERRUPTED);
    }
    size_t number = owngil_barrier_leave(barrier, meeting, last);
    if (failed) {
        return NULL;
    }
    return code == OWNGIL_OK ? PyLong_FromSize_t(number) : raise_code(code);
}

static PyObject *
barrier_abort(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_barrier_abort(OWNGIL_UNWRAP(owngil_barrier, self));
    Py_RETURN_NONE;
}

static PyObject *
barrier_reset(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_barrier_reset(OWNGIL_UNWRAP(owngil_barrier, self));
    Py_RETURN_NONE;
}

static PyObject *
barrier_get_parties(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(OWNGIL_UNWRAP(owngil_barrier, self)->parties);
}

static PyObject *
barrier_get_n_waiting(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(owngil_barrier_waiting(OWNGIL_UNWRAP(owngil_barrier, self)));
}

static PyObject *
barrier_get_broken(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(owngil_barrier_is_broken(OWNGIL_UNWRAP(owngil_barrier, self)));
}

static PyMethodDef barrier_methods[] = {
    {"wait", OWNGIL_FAST(barrier_wait) | METH_KEYWORDS, NULL},
    {"abort", barrier_abort, METH_NOARGS, NULL},
    {"reset", barrier_reset, METH_NOARGS, NULL},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef barrier_getset[] = {
    {"parties", barrier_get_parties, NULL, NULL, NULL},
    {"n_waiting", barrier_get_n_waiting, NULL, NULL, NULL},
    {"broken", barrier_get_broken, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot barrier_slots[] = {
    {Py_tp_new, barrier_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, barrier_methods},
    {Py_tp_getset, barrier_getset},
    {Py_tp_richcompare, owngil_wrapper_compare},
    {Py_tp_hash, owngil_wrapper_hash},
    {0, NULL},
};

OWNGIL_DEFINE_TYPE(barrier, "owngil._core.Barrier", owngil_wrapper, 0, barrier_slots, OWNGIL_SYNC_TYPE(BARRIER))
