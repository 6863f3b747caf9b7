#include "workers/guests.h"

#include "cpython/tracemalloc_hooks.h"

#include <stdlib.h>
#include <unistd.h>

/* A thread state that ensure() made for the calling thread. */
typedef struct guest {
    struct guest *outer;         /* of another worker, entered before this one */
    owngil_worker *worker;
    PyThreadState *tstate;
    owngil_guest entry;          /* in the worker's list */
    PyThreadState *suspended;    /* that the thread had when it entered; usually NULL */
    owngil_large_objects *heap;  /* that the thread took its blocks from when it entered; usually NULL */
    size_t depth;                /* calls of ensure() without their release() */
} guest;

static _Thread_local guest *innermost;
static _Thread_local bool unloading;

/* Whether the thread state belongs to the worker's interpreter; false if either is missing. */
static bool
is_in_worker(PyThreadState *tstate, const owngil_worker *worker)
{
    /* In this order: when the interpreter has ended, the thread state may be freed memory. */
    PyInterpreterState *own = atomic_load(&worker->own_interp);
    return own != NULL && tstate != NULL && PyThreadState_GetInterpreter(tstate) == own;
}

static int
ensure(owngil_refcounted *owner)
{
    owngil_worker *worker = (owngil_worker *)owner;
    PyThreadState *running = PyThreadState_GetUnchecked();
    guest *self = innermost;
    if (self != NULL && self->worker == worker) {
        self->depth++;
        if (running == self->tstate) {
            return PyGILState_LOCKED;
        }
        PyEval_RestoreThread(self->tstate); /* it had released the GIL */
        return PyGILState_UNLOCKED;
    }
    if (unloading) {
        return PyGILState_LOCKED;
    }
    if (is_in_worker(PyGILState_GetThisThreadState(), worker)) {
        return (int)PyGILState_Ensure();
    }
    if (is_in_worker(running, worker)) { /* by a thread state that PyGILState_Ensure() would not find */
        return PyGILState_LOCKED;
    }

    self = malloc(sizeof(*self));
    PyInterpreterState *interp = self != NULL ? owngil_worker_hold(worker) : NULL;
    owngil_tracemalloc_hooks_leave_out(true);
    PyThreadState *tstate = interp != NULL ? PyThreadState_New(interp) : NULL;
    owngil_tracemalloc_hooks_leave_out(owngil_worker_current() != NULL);
    if (tstate != NULL) {
        *self =
            (guest){.outer = innermost, .worker = worker, .tstate = tstate, .depth = 1, .entry = {.tstate = tstate}};
        owngil_worker_add_guest(worker, &self->entry);
    }
    if (interp != NULL) {
        owngil_worker_release(worker); /* its end waits for the thread state from here on */
    }
    if (tstate == NULL) { /* no memory, or the interpreter is ending: the caller expects no failure */
        if (running != NULL) {
            (void)PyEval_SaveThread();
        }
        for (;;) {
            pause();
        }
    }
    if (running != NULL) {
        self->suspended = PyEval_SaveThread();
    }
    innermost = self;
    self->heap = owngil_large_objects_use(NULL); /* a guest's blocks are not its own worker's */
    PyEval_RestoreThread(tstate);
    return PyGILState_UNLOCKED;
}

static void
release(owngil_refcounted *owner, int state)
{
    owngil_worker *worker = (owngil_worker *)owner;
    guest *self = innermost;
    if (self != NULL && self->worker == worker) {
        if (self->depth > 1) {
            self->depth--;
            if (state == PyGILState_UNLOCKED) {
                (void)PyEval_SaveThread();
            }
            return;
        }
        PyThreadState_Clear(self->tstate); /* may run Python code, which may call ensure() again */
        innermost = self->outer;
        owngil_worker_remove_guest(worker, &self->entry);
        PyThreadState_DeleteCurrent();
        (void)owngil_large_objects_use(self->heap);
        if (self->suspended != NULL) {
            PyEval_RestoreThread(self->suspended);
        }
        free(self);
    }
    else if (!unloading && is_in_worker(PyGILState_GetThisThreadState(), worker)) {
        PyGILState_Release((PyGILState_STATE)state);
    }
}

static int
check(owngil_refcounted *owner)
{
    return !unloading && is_in_worker(PyThreadState_GetUnchecked(), (const owngil_worker *)owner);
}

static bool
hold(owngil_refcounted *owner)
{
    return owngil_worker_hold((owngil_worker *)owner) != NULL;
}

static void
drop(owngil_refcounted *owner)
{
    owngil_worker_release((owngil_worker *)owner);
}

static void
set_unloading(bool value)
{
    unloading = value;
}

const owngil_guest_functions owngil_guests_functions = {
    .ensure = ensure, .release = release, .check = check, .hold = hold, .drop = drop, .set_unloading = set_unloading};
