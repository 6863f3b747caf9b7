#include "workers/fork.h"

#include "base/compat.h"
#include "base/process_notes.h"
#include "base/refcount.h"
#include "cpython/arena_tracking.h"
#include "cpython/interpreter_list.h"
#include "cpython/keyword_parsers.h"
#include "cpython/large_objects.h"
#include "loader/fork_gate.h"
#include "memory/lease.h"
#include "sync/waitable.h"
#include "tracing/recorder.h"
#include "workers/life.h"
#include "workers/lookups.h"
#include "workers/pause.h"
#include "workers/registry.h"
#include "workers/shutdown.h"
#include "workers/timers.h"

#include <errno.h>

/* The lock order of the core, for locks that belong to the process:
 *
 * first those of pause.h and lookups.h, which no fork waits for, then the fork gate's (also before a worker's own lock),
 * then the leaves. While a thread holds a leaf it takes no other lock, with one exception: the recorder's lock while it
 * holds the registry's.
 *
 * The locks of single objects are leaves, too: those of queues, semaphores, events, barriers, parking lots and private
 * copies. Only a worker's lock comes before the leaves. A GIL is taken only while none of these is held. A thread
 * inside the fork gate holds no lock by that, but forks wait for it: it may have its worker's GIL, and waits for no
 * other. */
static void
run_step(owngil_atfork_step step)
{
    owngil_fork_gate_atfork(step);
    owngil_process_notes_atfork(step);
    owngil_shutdown_atfork(step);
    owngil_registry_atfork(step);
    owngil_life_atfork(step);
    owngil_pause_atfork(step);
    owngil_lookups_atfork(step);
    owngil_timers_atfork(step);
    owngil_arena_tracking_atfork(step);
    owngil_keyword_parsers_atfork(step);
    owngil_large_objects_atfork(step);
    owngil_lease_atfork(step);
    owngil_waitable_atfork(step);
    owngil_recorder_atfork(step); /* after the registry's, as in the lock order */
}

static void
before_fork(void)
{
    run_step(OWNGIL_ATFORK_PREPARE);
}

static void
after_in_parent(void)
{
    run_step(OWNGIL_ATFORK_PARENT);
}

static void
after_in_child(void)
{
    run_step(OWNGIL_ATFORK_CHILD);
    atomic_fetch_add(&owngil_refcount_generation, 1);
    owngil_interpreter_list_forget();
}

/* Announces a fork to the fork gate, and waits until no thread is inside. */
static PyObject *
announce_fork(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(unused))
{
    while (!owngil_fork_gate_announce()) {
        Py_BEGIN_ALLOW_THREADS
        owngil_fork_gate_await_loading();
        Py_END_ALLOW_THREADS
    }
    Py_RETURN_NONE;
}

/* Withdraws a fork that was announced and did not happen: in os.forkpty(), for example, openpty() may fail. */
static PyObject *
withdraw_fork(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(unused))
{
    owngil_fork_gate_withdraw();
    Py_RETURN_NONE;
}

static PyMethodDef announce_definition = {"announce_fork", announce_fork, METH_NOARGS, NULL};
static PyMethodDef withdraw_definition = {"withdraw_fork", withdraw_fork, METH_NOARGS, NULL};

/* Registers the two functions with os.register_at_fork(). Returns 0, or -1 with an exception set. */
static int
register_with_python(void)
{
    PyObject *os = PyImport_ImportModule("os");
    PyObject *register_at_fork = os != NULL ? PyObject_GetAttrString(os, "register_at_fork") : NULL;
    PyObject *nothing = PyTuple_New(0);
    PyObject *functions = Py_BuildValue("{sNsN}", "before", PyCFunction_New(&announce_definition, NULL),
                                        "after_in_parent", PyCFunction_New(&withdraw_definition, NULL));
    PyObject *result = register_at_fork != NULL && nothing != NULL && functions != NULL
                           ? PyObject_Call(register_at_fork, nothing, functions)
                           : NULL;
    bool failed = result == NULL;
    Py_XDECREF(result);
    Py_XDECREF(functions);
    Py_XDECREF(nothing);
    Py_XDECREF(register_at_fork);
    Py_XDECREF(os);
    return failed ? -1 : 0;
}

int
owngil_fork_watch(void)
{
    static bool watches, registered; /* guarded by main's GIL */
    if (!watches) {
        owngil_fork_gate_init();
        errno = pthread_atfork(before_fork, after_in_parent, after_in_child);
        if (errno != 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        watches = true;
    }
    /* If this fails halfway, the next call registers a function twice, which does no harm. */
    if (!registered && register_with_python() < 0) {
        return -1;
    }
    registered = true;
    return 0;
}
