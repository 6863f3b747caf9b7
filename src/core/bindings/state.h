/* What the module owngil._core keeps for one interpreter. */
#pragma once

#include "base/compat.h"
#include "base/refcount.h"

enum { OWNGIL_SYNC_TYPES = OWNGIL_KIND_COUNTER - OWNGIL_KIND_LOCK + 1 };
#define OWNGIL_SYNC_TYPE(kind) sync_types[OWNGIL_KIND_##kind - OWNGIL_KIND_LOCK]

/* First all Python objects, owned: module.c visits and clears them as an array. */
typedef struct {
    PyTypeObject *block_type;
    PyTypeObject *message_type;
    PyTypeObject *queue_type;
    PyTypeObject *worker_type;
    PyTypeObject *sync_types[OWNGIL_SYNC_TYPES]; /* by kind, from OWNGIL_KIND_LOCK on */
    PyTypeObject *transfer_type;
    PyTypeObject *wakeup_type;
    PyObject *queue_closed; /* exception class */
    PyObject *future_names; /* a tuple; see future.h */
    Py_ssize_t versioned;   /* number of modules when all types had versions; see type_versions.h */
} owngil_state;

/* The state of the module that made the type, which is one of the types above. */
static inline owngil_state *
owngil_state_of(PyTypeObject *type)
{
    return (owngil_state *)PyType_GetModuleState(type);
}

/* Each adds to the module one of its types, or the functions of one matter. Returns 0, or -1 with an exception. */
typedef int owngil_addition(PyObject *module, owngil_state *state);
owngil_addition owngil_add_block, owngil_add_message, owngil_add_queue, owngil_add_worker, owngil_add_lock,
    owngil_add_semaphore, owngil_add_event, owngil_add_barrier, owngil_add_counter, owngil_add_transfer,
    owngil_add_wakeup, owngil_add_future, owngil_add_plain_values, owngil_add_tasks, owngil_add_process,
    owngil_add_tracing, owngil_add_limits, owngil_add_extension_modules, owngil_add_libraries;

/* Defines owngil_add_<which>() for functions of the module. */
#define OWNGIL_DEFINE_FUNCTIONS(which, ...) \
    int owngil_add_##which(PyObject *module, owngil_state *Py_UNUSED(state)) \
    { \
        static PyMethodDef functions[] = {__VA_ARGS__, {NULL, NULL, 0, NULL}}; \
        return PyModule_AddFunctions(module, functions); \
    }

/* The start of a PyMethodDef's value after its name, for a function that takes its arguments as an array. */
#define OWNGIL_FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL
