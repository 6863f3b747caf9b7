#include "workers/lookups.h"

#include "loader/fork_gate.h"

#include <string.h>

/* Comes before the fork gate: a worker that has it may wait there for a fork, which does not need it. No thread waits
 * for it with a GIL, but its holder may wait for a GIL. It is recursive, as a search may run a finalizer. */
static const pthread_mutex_t FREE = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

/* Calls the function under the lock. In a worker, no fork interrupts it, which would leave the C library's own lock
 * locked in the child. */
static PyObject *
search(PyCFunction function, PyObject *self, PyObject *args)
{
    if (pthread_mutex_trylock(&lock) != 0) {
        Py_BEGIN_ALLOW_THREADS
        pthread_mutex_lock(&lock);
        Py_END_ALLOW_THREADS
    }
    bool in_worker = PyInterpreterState_Get() != PyInterpreterState_Main();
    if (in_worker && !owngil_fork_gate_try_enter()) {
        Py_BEGIN_ALLOW_THREADS
        owngil_fork_gate_enter();
        Py_END_ALLOW_THREADS
    }
    PyObject *result = function(self, args);
    if (in_worker) {
        owngil_fork_gate_leave();
    }
    pthread_mutex_unlock(&lock);
    return result;
}

/* clang-format off */
#define LOOKUPS(X) \
    X(pwd, getpwall) X(grp, getgrall) X(spwd, getspall) \
    X(_socket, getservbyname) X(_socket, getservbyport) X(_socket, getprotobyname)
/* clang-format on */

#define DEFINE(module, name) \
    static PyCFunction original_##name; \
    static PyObject *guarded_##name(PyObject *self, PyObject *args) \
    { \
        return search(original_##name, self, args); \
    }
LOOKUPS(DEFINE)
#undef DEFINE

static const struct lookup {
    const char *module, *name;
    PyCFunction *original, guarded;
} lookups[] = {
#define ENTRY(module, name) {#module, #name, &original_##name, guarded_##name},
    LOOKUPS(ENTRY)
#undef ENTRY
};

/* Replaces the address in the table of the module's functions. The lock excludes other workers that do the same. */
static void
guard(const struct lookup *lookup, PyMethodDef *definition)
{
    PyCFunction function = definition->ml_meth;
    if (function == lookup->guarded || (definition->ml_flags & (METH_NOARGS | METH_VARARGS)) == 0
        || (definition->ml_flags & (METH_KEYWORDS | METH_METHOD)) != 0) {
        return;
    }
    *lookup->original = function;
    /* A thread with another GIL may call it at once. */
    __atomic_store_n(&definition->ml_meth, lookup->guarded, __ATOMIC_RELEASE);
}

int
owngil_lookups_guard(PyObject *module)
{
    const char *name = PyModule_GetName(module);
    if (name == NULL) {
        return -1;
    }
    for (size_t k = 0; k < sizeof(lookups) / sizeof(lookups[0]); k++) {
        if (strcmp(lookups[k].module, name) != 0) {
            continue;
        }
        PyObject *function = PyObject_GetAttrString(module, lookups[k].name);
        if (function == NULL) {
            PyErr_Clear(); /* this system has no such list */
            continue;
        }
        if (PyCFunction_CheckExact(function)) {
            pthread_mutex_lock(&lock);
            guard(&lookups[k], ((PyCFunctionObject *)function)->m_ml);
            pthread_mutex_unlock(&lock);
        }
        Py_DECREF(function);
    }
    return 0;
}

void
owngil_lookups_atfork(owngil_atfork_step step)
{
    if (step == OWNGIL_ATFORK_CHILD) {
        lock = FREE; /* the thread that had it is not here */
    }
}
