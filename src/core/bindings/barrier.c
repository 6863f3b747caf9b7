/* The core of owngil.Barrier: a process-wide barrier seen from one interpreter. */
#include "sync/barrier.h"
#include "bindings/args.h"
#include "bindings/wait.h"
#include "bindings/wrapper.h"

/* Barrier(parties): make the part of an owngil.Barrier that belongs to the process. */
static PyObject *
barrier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t parties;
    static char *names[] = {"parties", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n:Barrier", names, &parties)) {
        return NULL;
    }
    if (parties < 1) {
        return PyErr_Format(PyExc_ValueError, "parties must be 1 or more, not %zd", parties);
    }
    return owngil_wrap(type, (owngil_refcounted *)owngil_barrier_new((size_t)parties));
}

/* Sets threading's own exception for a broken barrier, or MemoryError. Returns NULL. */
static PyObject *
raise_broken(owngil_status code)
{
    if (code == OWNGIL_NO_MEMORY) {
        return PyErr_NoMemory();
    }
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *error = threading != NULL ? PyObject_GetAttrString(threading, "BrokenBarrierError") : NULL;
    if (error != NULL) {
        PyErr_SetString(error, code == OWNGIL_TIMEOUT ? "timed out, so the barrier is broken now"
                                                      : "the barrier is broken or was reset");
    }
    Py_XDECREF(error);
    Py_XDECREF(threading);
    return NULL;
}

/* wait(timeout=None, action=None): wait until all parties have come. The last one calls `action` before any of them
 * goes on. */
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
        || owngil_args_timeout(values[0], true, &deadline) < 0) {
        return NULL;
    }
    /* Joining takes a wait only while an action runs. */
    owngil_status code = owngil_barrier_join(barrier, &meeting, &last, false, OWNGIL_DEADLINE_NOW);
    int failed = 0;
    if (code == OWNGIL_INTERRUPTED) {
        OWNGIL_WAIT_TO_UNDO(failed, code, owngil_barrier_join(barrier, &meeting, &last, true, deadline));
    }
    if (meeting == NULL) {
        return failed ? NULL : raise_broken(code);
    }
    if (last) {
        /* After an interrupt in the wait to join, break the barrier instead of calling the action: the others must not
         * wait for ever. */
        PyObject *result = failed ? NULL : values[1] == Py_None ? Py_NewRef(Py_None) : PyObject_CallNoArgs(values[1]);
        failed = result == NULL;
        Py_XDECREF(result);
        code = owngil_barrier_end(barrier, meeting, failed);
    }
    else if (!failed) {
        OWNGIL_WAIT_TO_UNDO(failed, code, owngil_barrier_wait(barrier, meeting, deadline));
    }
    size_t number = owngil_barrier_leave(barrier, meeting, last);
    if (failed) {
        return NULL;
    }
    return code == OWNGIL_OK ? PyLong_FromSize_t(number) : raise_broken(code);
}

OWNGIL_DEFINE_ACTION(barrier_abort, owngil_barrier, owngil_barrier_abort)
OWNGIL_DEFINE_ACTION(barrier_reset, owngil_barrier, owngil_barrier_reset)
OWNGIL_DEFINE_GETTER(barrier_get_parties, owngil_barrier, PyLong_FromSize_t, self->parties)
OWNGIL_DEFINE_GETTER(barrier_get_n_waiting, owngil_barrier, PyLong_FromSize_t, owngil_barrier_waiting(self))
OWNGIL_DEFINE_GETTER(barrier_get_broken, owngil_barrier, PyBool_FromLong, owngil_barrier_is_broken(self))

static PyMethodDef barrier_methods[] = {
    {"wait", OWNGIL_FAST(barrier_wait) | METH_KEYWORDS},
    {"abort", barrier_abort, METH_NOARGS},
    {"reset", barrier_reset, METH_NOARGS},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS},
    {NULL},
};

static PyGetSetDef barrier_getset[] = {
    {"parties", barrier_get_parties},
    {"n_waiting", barrier_get_n_waiting},
    {"broken", barrier_get_broken},
    {NULL},
};

static PyType_Slot barrier_slots[] = {
    {Py_tp_new, barrier_new},
    {Py_tp_methods, barrier_methods},
    {Py_tp_getset, barrier_getset},
    OWNGIL_HANDLE_SLOTS,
    {0},
};

OWNGIL_DEFINE_TYPE(barrier, "owngil._core.Barrier", owngil_wrapper, 0, barrier_slots, OWNGIL_SYNC_TYPE(BARRIER))
