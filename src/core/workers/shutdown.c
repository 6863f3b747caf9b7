#include "workers/shutdown.h"

#include "base/clock.h"
#include "base/compat.h"
#include "cpython/keyword_parsers.h"
#include "workers/pause.h"
#include "workers/registry.h"

#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf; guards the rest */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool exiting;
static owngil_worker *kept; /* they wait for the exit of the process; each has a reference that is never released */

void
owngil_shutdown_exit(void)
{
    pthread_mutex_lock(&lock);
    exiting = true;
    owngil_worker *list = kept;
    kept = NULL;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (; list != NULL; list = list->next_kept) {
        pthread_join(list->thread, NULL);
    }
}

void
owngil_shutdown_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &lock);
    if (step == OWNGIL_ATFORK_CHILD) {
        pthread_cond_init(&changed, NULL);
        kept = NULL;
    }
}

/* The next functions read CPython's list of thread states without CPython's lock, which is private. They need the GIL,
 * and need it to be after owngil_worker_refuse_holders(). Then a thread state leaves the list only with the GIL. Others
 * may still be added: at the head, behind which this does not look again. */

/* Whether the thread has entered the interpreter with a guard of PEP 788. */
static bool
has_guard(const PyThreadState *tstate)
{
#if OWNGIL_HAVE_INTERPRETER_GUARDS
    return tstate->ensure.counter > 0;
#else
    (void)tstate;
    return false;
#endif
}

/* Waits until no thread with a guard is in the interpreter. CPython promises these threads to wait for them, without a
 * limit. Needs the GIL, and releases it meanwhile. */
static void
await_guards(PyInterpreterState *interp)
{
    const struct timespec nap = {.tv_nsec = OWNGIL_CLOCK_MILLISECOND};
    PyThreadState *at = PyInterpreterState_ThreadHead(interp);
    while (at != NULL) {
        if (has_guard(at)) {
            Py_BEGIN_ALLOW_THREADS
            nanosleep(&nap, NULL);
            Py_END_ALLOW_THREADS
            at = PyInterpreterState_ThreadHead(interp);
        }
        else {
            at = PyThreadState_Next(at);
        }
    }
}

/* Whether the interpreter has no thread state but the caller's. */
static bool
is_alone(PyInterpreterState *interp)
{
    return PyThreadState_Next(PyInterpreterState_ThreadHead(interp)) == NULL;
}

/* Asks the other threads, except guest threads, to end. Those that run Python code do so at their next bytecode. */
static void
stop_others(owngil_worker *self, PyInterpreterState *interp)
{
    for (PyThreadState *at = PyInterpreterState_ThreadHead(interp); at != NULL; at = PyThreadState_Next(at)) {
        if (at != PyThreadState_Get() && !owngil_worker_has_guest(self, at)) {
            PyThreadState_SetAsyncExc(at->thread_id, PyExc_SystemExit);
        }
    }
}

/* A profile function that stops threads which did not end when they were asked to: whatever such a thread does next, it
 * waits here until the process is gone. */
static int
park_thread(PyObject *Py_UNUSED(unused), PyFrameObject *Py_UNUSED(frame), int Py_UNUSED(what), PyObject *Py_UNUSED(arg))
{
    if (owngil_worker_current() == NULL) { /* not in the worker's own thread */
        Py_BEGIN_ALLOW_THREADS
        for (;;) {
            pause();
        }
        Py_END_ALLOW_THREADS
    }
    return 0;
}

/* Waits a quarter of a second for the other threads to end, and returns whether they did. CPython tells no thread when
 * another ends, hence the short sleeps: only a worker that closes and has daemon threads ever sleeps. Needs the GIL,
 * and releases it meanwhile. */
static bool
await_others(PyInterpreterState *interp)
{
    const struct timespec nap = {.tv_nsec = OWNGIL_CLOCK_MILLISECOND};
    enum { NAPS = 250 };
    for (int k = 0; k < NAPS && !is_alone(interp); k++) {
        Py_BEGIN_ALLOW_THREADS
        nanosleep(&nap, NULL);
        Py_END_ALLOW_THREADS
    }
    return is_alone(interp);
}

/* Deletes the other threads' states. These threads wait in C code or in park_thread(). One that wakes up after this
 * finds its state gone, which is safe only once the process is finalizing; the time until then is short. */
static void
delete_others(PyInterpreterState *interp)
{
    for (;;) {
        PyThreadState *at = PyInterpreterState_ThreadHead(interp);
        if (at == PyThreadState_Get()) {
            at = PyThreadState_Next(at);
        }
        if (at == NULL) {
            return;
        }
        PyThreadState_Clear(at); /* may run Python code, and so change the list */
        PyThreadState_Delete(at);
    }
}

/* Waits for the exit of the process, with the other threads stopped. Needs the GIL, and releases it meanwhile. */
static void
await_exit(owngil_worker *self)
{
    if (!atomic_exchange(&self->joined, true)) { /* an interpreter may come here twice */
        owngil_refcount_acquire(&self->base); /* for ever: its copies stay loaded, and their threads may use it */
        pthread_mutex_lock(&lock);
        self->next_kept = kept;
        kept = self;
        pthread_mutex_unlock(&lock);
    }
    owngil_worker_report(self, OWNGIL_MESSAGE_KEPT, NULL);
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&lock);
    while (!exiting) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    Py_END_ALLOW_THREADS
}

void
owngil_shutdown_before_end(owngil_worker *self)
{
    PyInterpreterState *interp = PyInterpreterState_Get();
    owngil_worker_refuse_holders(self); /* from here on, no thread from outside is let in */
    await_guards(interp);
    bool alone = is_alone(interp);
    if (!alone) {
        stop_others(self, interp);
        alone = await_others(interp);
    }
    if (!alone) {
        PyEval_SetProfileAllThreads(park_thread, NULL);
        alone = await_others(interp);
    }
    if (!alone) {
        PyEval_SetProfile(NULL, NULL);
        await_exit(self);
        delete_others(interp); /* Py_EndInterpreter() kills the process if there are any */
    }
    if (!self->ends) { /* an interpreter may come here twice */
        self->ends = true;
        owngil_copies_end_thread(&self->copies);
        Py_BEGIN_ALLOW_THREADS
        owngil_pause_keep_out(); /* until Py_EndInterpreter() has returned */
        Py_END_ALLOW_THREADS
        owngil_registry_remove(self);
    }
    owngil_keyword_parsers_release();
}
