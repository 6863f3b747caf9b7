#include "workers/shutdown.h"

#include "base/clock.h"
#include "base/compat.h"
#include "cpython/keyword_parsers.h"

#include <stdlib.h>
#include <unistd.h>

/* The thread of a worker that waits for the exit of the process. */
typedef struct kept {
    struct kept *next;
    pthread_t thread;
} kept;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf; guards the rest */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool exiting;
static kept *all_kept;

static void
keep(pthread_t thread)
{
    kept *entry = malloc(sizeof(*entry));
    if (entry == NULL) { /* no thread will join it: no more than an untidy exit */
        return;
    }
    pthread_mutex_lock(&lock);
    entry->thread = thread;
    entry->next = all_kept;
    all_kept = entry;
    pthread_mutex_unlock(&lock);
}

static void
await_exit(void)
{
    pthread_mutex_lock(&lock);
    while (!exiting) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

void
owngil_shutdown_exit(void)
{
    pthread_mutex_lock(&lock);
    exiting = true;
    kept *list = all_kept;
    all_kept = NULL;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    while (list != NULL) {
        kept *entry = list;
        list = entry->next;
        pthread_join(entry->thread, NULL);
        free(entry);
    }
}

void
owngil_shutdown_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &lock);
    if (step == OWNGIL_ATFORK_CHILD) {
        pthread_cond_init(&changed, NULL);
        all_kept = NULL;
    }
}

/* Thread states of `interp` other than the caller's. The list changes only with the GIL held, which the caller does. */
static size_t
count_others(PyInterpreterState *interp)
{
    size_t count = 0;
    for (PyThreadState *at = PyInterpreterState_ThreadHead(interp); at != NULL; at = PyThreadState_Next(at)) {
        count += at != PyThreadState_Get();
    }
    return count;
}

/* Asks the other threads of the worker's own to end: those that run Python code do so at their next bytecode. */
static void
stop_others(owngil_worker *self, PyInterpreterState *interp)
{
    for (PyThreadState *at = PyInterpreterState_ThreadHead(interp); at != NULL; at = PyThreadState_Next(at)) {
        if (at != PyThreadState_Get() && !owngil_worker_has_guest(self, at)) {
            PyThreadState_SetAsyncExc(at->thread_id, PyExc_SystemExit);
        }
    }
}

/* Profile function of last resort, for threads that went on when they were asked to end: whatever such a thread does
 * next, it waits here until the process is gone. */
static int
park_thread(PyObject *Py_UNUSED(unused), PyFrameObject *Py_UNUSED(frame), int Py_UNUSED(what), PyObject *Py_UNUSED(arg))
{
    if (owngil_worker_current() == NULL) { /* the worker's own thread is not meant */
        Py_BEGIN_ALLOW_THREADS
        for (;;) {
            pause();
        }
        Py_END_ALLOW_THREADS
    }
    return 0;
}

/* Waits for the other threads to go; returns whether they did. CPython tells nobody when one goes: hence the short
 * sleeps, which only a worker that is closing and has daemon threads ever does. Needs the GIL, and lets go of it. */
static bool
others_are_gone(PyInterpreterState *interp)
{
    const struct timespec nap = {.tv_nsec = 1000000};
    enum { NAPS = 250 };
    for (int k = 0; k < NAPS && count_others(interp) > 0; k++) {
        Py_BEGIN_ALLOW_THREADS
        nanosleep(&nap, NULL);
        Py_END_ALLOW_THREADS
    }
    return count_others(interp) == 0;
}

/* Forgets the other threads. They sleep in C, or in park_thread(): one that wakes after this finds its state gone.
 * That is safe only once the process is finalizing, and the moment until then is short. */
static void
drop_others(PyInterpreterState *interp)
{
    PyThreadState *at = PyInterpreterState_ThreadHead(interp);
    while (at != NULL) {
        PyThreadState *next = PyThreadState_Next(at);
        if (at != PyThreadState_Get()) {
            PyThreadState_Clear(at);
            PyThreadState_Delete(at);
        }
        at = next;
    }
}

/* Returns when the interpreter has no other thread: Py_EndInterpreter kills the process otherwise. */
static void
await_threads(owngil_worker *self)
{
    PyInterpreterState *interp = PyInterpreterState_Get();

    owngil_worker_refuse_holders(self);
    if (count_others(interp) == 0) {
        return;
    }
    stop_others(self, interp);
    if (others_are_gone(interp)) {
        return;
    }
    PyEval_SetProfileAllThreads(park_thread, NULL);
    if (others_are_gone(interp)) {
        return;
    }
    PyEval_SetProfile(NULL, NULL);
    atomic_store(&self->joined, true);
    owngil_refcount_acquire(&self->base); /* for ever: its copies stay loaded, and their threads may come back to it */
    keep(pthread_self());
    owngil_worker_report(self, OWNGIL_MESSAGE_KEPT, NULL, 0);
    Py_BEGIN_ALLOW_THREADS
    await_exit();
    Py_END_ALLOW_THREADS
    drop_others(interp);
}

void
owngil_shutdown_before_end(owngil_worker *self)
{
    await_threads(self);
    owngil_keyword_parsers_release();
}
