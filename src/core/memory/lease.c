#include "memory/lease.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct lease {
    owngil_block block;
    Py_buffer view;     /* of the main interpreter's object */
    struct lease *next; /* in `returned` */
} lease;

static _Atomic(lease *) returned; /* leases without references, whose buffers are still to be given back */

/* The lease thread. `lock`, a leaf, guards the rest. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* for the thread: a buffer was returned, or `stops` set; initialized with the thread */
static pthread_t thread;
static bool is_running, stops;

static void
lease_free(owngil_refcounted *base)
{
    lease *self = (lease *)base;
    PyThreadState *running = PyThreadState_GetUnchecked();
    if (running != NULL && PyThreadState_GetInterpreter(running) == PyInterpreterState_Main()) {
        PyBuffer_Release(&self->view);
        free(self);
        return;
    }
    lease *first = atomic_load(&returned);
    do {
        self->next = first;
    } while (!atomic_compare_exchange_weak(&returned, &first, self));
    if (first == NULL) {
        pthread_mutex_lock(&lock);
        if (is_running) {
            pthread_cond_signal(&changed);
        }
        pthread_mutex_unlock(&lock);
    }
}

/* Gives back all buffers. Needs the GIL of the main interpreter. */
static void
give_buffers_back(void)
{
    for (lease *self = atomic_exchange(&returned, NULL), *next; self != NULL; self = next) {
        next = self->next;
        PyBuffer_Release(&self->view);
        free(self);
    }
}

void
owngil_lease_collect(void)
{
    if (atomic_load_explicit(&returned, memory_order_relaxed) != NULL
        && PyInterpreterState_Get() == PyInterpreterState_Main()) {
        give_buffers_back();
    }
}

static void *
thread_main(void *Py_UNUSED(unused))
{
    pthread_mutex_lock(&lock);
    while (!stops) {
        if (atomic_load(&returned) == NULL) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        /* Give main 1 ms to collect returned buffers before this thread takes its GIL. */
        int64_t until = owngil_clock_now() + OWNGIL_CLOCK_MILLISECOND;
        while (!stops && owngil_clock_wait(&changed, &lock, until) == 0) {
        }
        if (!stops && atomic_load(&returned) != NULL) {
            pthread_mutex_unlock(&lock);
            PyGILState_STATE state = PyGILState_Ensure();
            give_buffers_back();
            PyGILState_Release(state);
            pthread_mutex_lock(&lock);
        }
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Returns 0 or an errno. */
static int
start_thread(void)
{
    int error = 0;
    pthread_mutex_lock(&lock);
    if (!is_running && !stops) {
        owngil_clock_init_condition(&changed);
        error = pthread_create(&thread, NULL, thread_main, NULL);
        is_running = error == 0;
    }
    pthread_mutex_unlock(&lock);
    return error;
}

owngil_block *
owngil_lease_new(PyObject *object)
{
    owngil_lease_collect();
    int error = start_thread();
    if (error != 0) {
        PyObject *args = Py_BuildValue("(is)", error, "no thread can be started, and owngil needs one to lend arrays");
        if (args != NULL) {
            PyErr_SetObject(PyExc_OSError, args);
            Py_DECREF(args);
        }
        return NULL;
    }
    lease *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (PyObject_GetBuffer(object, &self->view, PyBUF_ANY_CONTIGUOUS) < 0) {
        free(self);
        return NULL;
    }
    owngil_block_init(&self->block, self->view.buf, (size_t)self->view.len, false, lease_free);
    return &self->block;
}

void
owngil_lease_end(void)
{
    pthread_mutex_lock(&lock);
    stops = true;
    bool was_running = is_running;
    is_running = false;
    if (was_running) {
        pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
    if (was_running) {
        pthread_join(thread, NULL);
    }
}

void
owngil_lease_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &lock);
    if (step == OWNGIL_ATFORK_CHILD) {
        is_running = false;
    }
}
