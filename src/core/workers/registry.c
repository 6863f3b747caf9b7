#include "workers/registry.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list; a leaf, except for the recorder's */
static owngil_worker *workers;

void
owngil_registry_add(owngil_worker *worker)
{
    pthread_mutex_lock(&lock);
    worker->next = workers;
    workers = worker;
    pthread_mutex_unlock(&lock);
}

void
owngil_registry_remove(owngil_worker *worker)
{
    pthread_mutex_lock(&lock);
    owngil_worker **at = &workers;
    while (*at != NULL && *at != worker) {
        at = &(*at)->next;
    }
    if (*at != NULL) { /* else this is the child of a fork by C code in the worker */
        *at = worker->next;
    }
    pthread_mutex_unlock(&lock);
}

owngil_worker *
owngil_registry_of_thread(void)
{
    /* The thread state decides, also on a worker's own thread. CPython switches such a thread to main for the PyInit
     * function of an extension module; and it may be a guest in another interpreter. */
    PyThreadState *tstate = PyThreadState_GetUnchecked();
    PyInterpreterState *interp = tstate != NULL ? PyThreadState_GetInterpreter(tstate) : NULL;
    if (interp == NULL || interp == PyInterpreterState_Main()) {
        return NULL;
    }
    owngil_worker *current = owngil_worker_current();
    PyInterpreterState *own = current != NULL ? atomic_load(&current->own_interp) : NULL;
    if (current != NULL && (own == interp || own == NULL)) { /* NULL: the interpreter is being made */
        return current;
    }
    pthread_mutex_lock(&lock);
    owngil_worker *at = workers;
    while (at != NULL && atomic_load(&at->own_interp) != interp) {
        at = at->next;
    }
    pthread_mutex_unlock(&lock);
    return at;
}

uint64_t
owngil_registry_owner_of_thread(void)
{
    const owngil_worker *worker = owngil_registry_of_thread();
    return worker != NULL ? worker->owner : 0;
}

void
owngil_registry_each(void (*function)(owngil_worker *))
{
    pthread_mutex_lock(&lock);
    for (owngil_worker *at = workers; at != NULL; at = at->next) {
        function(at);
    }
    pthread_mutex_unlock(&lock);
}

size_t
owngil_registry_count(void)
{
    size_t count = 0;
    pthread_mutex_lock(&lock);
    for (const owngil_worker *at = workers; at != NULL; at = at->next) {
        count++;
    }
    pthread_mutex_unlock(&lock);
    return count;
}

void
owngil_registry_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &lock);
    if (step == OWNGIL_ATFORK_CHILD) {
        workers = NULL;
    }
}
