#include "workers/pause.h"

#include "cpython/tracemalloc_hooks.h"
#include "workers/registry.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>

/* Held for writing during a pause, for reading by workers that make or end their interpreters or create extension
 * modules. All registered workers have an interpreter while it is held for writing. */
static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;
static _Thread_local size_t depth; /* how often the calling thread holds it for reading */

/* A helper thread, which has one worker's GIL. */
typedef struct helper {
    struct helper *next;
    PyInterpreterState *interp;
    pthread_t thread;
    sem_t paused, over;
    bool failed; /* no memory for a thread state */
} helper;

static helper *helpers; /* guarded by the gate */

static void *
helper_main(void *argument)
{
    helper *self = argument;
    owngil_tracemalloc_hooks_leave_out(true);
    PyThreadState *tstate = PyThreadState_New(self->interp);
    self->failed = tstate == NULL;
    if (tstate != NULL) {
        PyEval_RestoreThread(tstate);
    }
    sem_post(&self->paused);
    while (sem_wait(&self->over) != 0) { /* a signal has interrupted the wait */
    }
    if (tstate != NULL) {
        PyThreadState_Clear(tstate);
        PyThreadState_DeleteCurrent();
    }
    return NULL;
}

static void
add_helper(owngil_worker *worker)
{
    helper *self = malloc(sizeof(*self));
    if (self != NULL) {
        *self = (helper){.next = helpers, .interp = atomic_load(&worker->own_interp)};
        helpers = self;
    }
}

int
owngil_pause_changes_begin(void)
{
    /* An init function that CPython calls in the main interpreter would wait for itself. */
    return depth > 0 ? EDEADLK : pthread_rwlock_wrlock(&gate);
}

void
owngil_pause_changes_end(void)
{
    pthread_rwlock_unlock(&gate);
}

int
owngil_pause_begin(void)
{
    int error = owngil_pause_changes_begin();
    if (error != 0) {
        return error;
    }
    size_t wanted = owngil_registry_count(), count = 0;
    owngil_registry_each(add_helper);
    for (helper **at = &helpers; *at != NULL;) {
        helper *self = *at;
        sem_init(&self->paused, 0, 0);
        sem_init(&self->over, 0, 0);
        error = error == 0 ? pthread_create(&self->thread, NULL, helper_main, self) : error;
        if (error != 0) { /* this one and the rest have no thread */
            *at = self->next;
            free(self);
            continue;
        }
        count++;
        at = &self->next;
    }
    for (helper *self = helpers; self != NULL; self = self->next) {
        while (sem_wait(&self->paused) != 0) {
        }
        error = self->failed ? ENOMEM : error;
    }
    error = error == 0 && count < wanted ? ENOMEM : error;
    if (error != 0) {
        owngil_pause_end();
    }
    return error;
}

void
owngil_pause_end(void)
{
    for (helper *self = helpers; self != NULL; self = self->next) {
        sem_post(&self->over);
    }
    while (helpers != NULL) {
        helper *self = helpers;
        helpers = self->next;
        pthread_join(self->thread, NULL);
        sem_destroy(&self->paused);
        sem_destroy(&self->over);
        free(self);
    }
    owngil_pause_changes_end();
}

void
owngil_pause_keep_out(void)
{
    if (depth++ == 0) {
        pthread_rwlock_rdlock(&gate);
    }
}

void
owngil_pause_let_in(void)
{
    if (--depth == 0) {
        pthread_rwlock_unlock(&gate);
    }
}

static PyObject *
call_kept_out(PyObject *function, PyObject *args)
{
    Py_BEGIN_ALLOW_THREADS
    owngil_pause_keep_out();
    Py_END_ALLOW_THREADS
    PyObject *result = PyObject_Call(function, args, NULL);
    owngil_pause_let_in();
    return result;
}

static PyMethodDef guarded[] = {
    {"create_builtin", call_kept_out, METH_VARARGS},
    {"create_dynamic", call_kept_out, METH_VARARGS},
};

int
owngil_pause_guard_imports(void)
{
    PyObject *module = PyImport_ImportModule("_imp"); /* importlib looks the functions up at each call */
    int result = module != NULL ? 0 : -1;
    for (size_t k = 0; result == 0 && k < sizeof(guarded) / sizeof(guarded[0]); k++) {
        PyObject *original = PyObject_GetAttrString(module, guarded[k].ml_name);
        PyObject *replacement = original != NULL ? PyCFunction_New(&guarded[k], original) : NULL;
        result = replacement != NULL ? PyObject_SetAttrString(module, guarded[k].ml_name, replacement) : -1;
        Py_XDECREF(replacement);
        Py_XDECREF(original);
    }
    Py_XDECREF(module);
    return result;
}

void
owngil_pause_atfork(owngil_atfork_step step)
{
    if (step == OWNGIL_ATFORK_CHILD) {
        gate = (pthread_rwlock_t)PTHREAD_RWLOCK_INITIALIZER;
        if (depth > 0) {
            pthread_rwlock_rdlock(&gate);
        }
        helpers = NULL;
    }
}
