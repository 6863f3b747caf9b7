/* What the module owngil._core keeps for one interpreter, and the parts that it is made of. */
#pragma once

#include "base/compat.h"
#include "base/refcount.h"

enum { OWNGIL_SYNC_TYPES = OWNGIL_KIND_COUNTER - OWNGIL_KIND_LOCK + 1 };
#define OWNGIL_SYNC_TYPE(kind) sync_types[OWNGIL_KIND_##kind - OWNGIL_KIND_LOCK]

/* The state begins with all its Python objects, owned: module.c visits and clears them as an array. */
typedef struct {
    PyTypeObject *block_type;
    PyTypeObject *message_type;
    PyTypeObject *queue_type;
    PyTypeObject *worker_type;
    PyTypeObject *sync_types[OWNGIL_SYNC_TYPES]; /* by kind, from OWNGIL_KIND_LOCK on */
    PyTypeObject *transfer_type;
    PyTypeObject *wakeup_type;
    PyObject *queue_closed; /* exception class */
    PyObject *future_names; /* a tuple; see future.c */
    PyObject *acquire_name; /* "acquire", of locks */
    PyObject *release_name; /* "release" */
    PyObject *imported;     /* a set of names of modules whose import has ended; see plain_values.c */
    Py_ssize_t versioned;   /* number of modules when all types had versions; see type_versions.h */
    size_t indexed;         /* number of modules that have an index of extension_modules.c */
} owngil_state;

/* Returns the state of the module that made the type, which is one of the types above. */
static inline owngil_state *
owngil_state_of(PyTypeObject *type)
{
    return (owngil_state *)PyType_GetModuleState(type);
}

/* The types and groups of functions in the module. Each has a function owngil_add_<name>(), which adds it to the module
 * and returns 0, or -1 with an exception. */
/* clang-format off */
#define OWNGIL_ADDITIONS(X) \
    X(block) X(message) X(queue) X(transfer) X(wakeup) X(lock) X(semaphore) X(bounded_semaphore) X(event) X(barrier) \
    X(counter) X(worker) X(start_worker) X(tasks) X(limits) X(tracing) X(future) X(locked) X(plain_values) \
    X(process) X(other_interpreters) X(main_calls) X(libraries) X(extension_modules)
/* clang-format on */

#define DECLARE(name) int owngil_add_##name(PyObject *module, owngil_state *state);
OWNGIL_ADDITIONS(DECLARE)
#undef DECLARE

/* Defines owngil_add_<name>() for a table of functions. */
#define OWNGIL_DEFINE_FUNCTIONS(name, functions) \
    int owngil_add_##name(PyObject *module, owngil_state *Py_UNUSED(state)) \
    { \
        return PyModule_AddFunctions(module, functions); \
    }

/* The middle of a PyMethodDef's value for a function that takes its arguments as an array. */
#define OWNGIL_FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL
