#include "workers/guests.h"

#include "workers/worker.h"

#include <stdlib.h>
#include <unistd.h>

/* A thread state that ensure() made for the calling thread. */
typedef struct guest {
    struct guest *outer;      /* of another worker, entered before this one */
    owngil_worker *worker;
    PyThreadState *tstate;
    owngil_guest entry;       /* in the worker's list */
    PyThreadState *suspended; /* what the thread was running when it came in; usually NULL */
    owngil_large_objects *heap;        /* which the thread took its blocks from; usually NULL */
    size_t depth;             /* calls of ensure without their release */
} guest;

static _Thread_local guest *innermost;
static _Thread_local bool unloading;

static _Noreturn void
hang(void)
{
    for (;;) {
        pause();
    }
}

static PyInterpreterState *
interpreter_of(PyThreadState *tstate)
{
    return tstate != NULL ? PyThreadState_GetInterpreter(tstate) : NULL;
}

static int
ensure(owngil_refcounted *owner)
{
    owngil_worker *worker = (owngil_worker *)owner;
    PyThreadState *running = owngil_compat_current_tstate();
    guest *self = innermost;
    if (self != NULL && self->worker == worker) {
        self->depth++;
        if (running == self->tstate) {
            return PyGILState_LOCKED;
        }
        PyEval_RestoreThread(self->tstate); /* it had let go of the GIL */
        return PyGILState_UNLOCKED;
    }
    if (unloading) {
        return PyGILState_LOCKED;
    }
    PyInterpreterState *own = atomic_load(&worker->own_interp);
    if (own != NULL && interpreter_of(PyGILState_GetThisThreadState()) == own) {
        return (int)PyGILState_Ensure();
    }
    if (own != NULL && interpreter_of(running) == own) { /* through a thread state that CPython's own would not find */
        return PyGILState_LOCKED;
    }

    self = malloc(sizeof(*self));
    PyInterpreterState *interp = self != NULL ? owngil_worker_hold(worker) : NULL;
    PyThreadState *tstate = interp != NULL ? PyThreadState_New(interp) : NULL;
    if (tstate != NULL) {
        *self =
            (guest){.outer = innermost, .worker = worker, .tstate = tstate, .depth = 1, .entry = {.tstate = tstate}};
        owngil_worker_add_guest(worker, &self->entry);
    }
    if (interp != NULL) {
        owngil_worker_release(worker); /* which waits for the thread state from here on */
    }
    if (tstate == NULL) { /* no memory, or no interpreter any more: there is no way to say so */
        if (running != NULL) {
            (void)PyEval_SaveThread();
        }
        hang();
    }
    if (running != NULL) {
        self->suspended = PyEval_SaveThread();
    }
    innermost = self;
    self->heap = owngil_large_objects_use(NULL); /* what it allocates in there does not belong to its own worker */
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
        PyThreadState_Clear(self->tstate); /* may run Python code, which may come in once more */
        innermost = self->outer;
        owngil_worker_remove_guest(worker, &self->entry);
        PyThreadState_DeleteCurrent();
        (void)owngil_large_objects_use(self->heap);
        if (self->suspended != NULL) {
            PyEval_RestoreThread(self->suspended);
        }
        free(self);
    }
    else {
        PyInterpreterState *own = atomic_load(&worker->own_interp);
        if (!unloading && own != NULL && interpreter_of(PyGILState_GetThisThreadState()) == own) {
            PyGILState_Release((PyGILState_STATE)state);
        }
    }
}

static int
check(owngil_refcounted *owner)
{
    const owngil_worker *worker = (const owngil_worker *)owner;
    PyThreadState *running = owngil_compat_current_tstate();
    return !unloading && running != NULL && interpreter_of(running) == atomic_load(&worker->own_interp);
}

static void
set_unloading(bool value)
{
    unloading = value;
}

const owngil_guest_functions owngil_guests_functions = {
    .ensure = ensure, .release = release, .check = check, .set_unloading = set_unloading};
