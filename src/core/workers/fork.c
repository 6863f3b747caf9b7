#include "base/atfork.h"

#include "cpython/arena_tracking.h"
#include "cpython/keyword_parsers.h"
#include "loader/fork_gate.h"
#include "cpython/large_objects.h"
#include "workers/worker.h"
#include "memory/lease.h"
#include "base/process_notes.h"
#include "tracing/recorder.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* The start of _PyRuntime since 3.13: made for debuggers, and the same from then on. */
typedef struct {
    char cookie[8];
    uint64_t version, free_threaded, runtime_size, finalizing, interpreters_head;
} debug_offsets;

static const char DEBUG_COOKIE[] = "xdebugpy";

/* Returns the place of the pointer to CPython's newest interpreter, or NULL if that is not certain. In the child, where
 * nothing else runs. */
static PyInterpreterState **
find_list(PyInterpreterState *newest, PyInterpreterState *main)
{
    char *runtime = dlsym(RTLD_DEFAULT, "_PyRuntime");
    Dl_info info;
    const ElfW(Sym) *symbol = NULL;
    if (runtime == NULL || !dladdr1(runtime, &info, (void **)&symbol, RTLD_DL_SYMENT) || symbol == NULL
        || info.dli_saddr != runtime || symbol->st_size < sizeof(debug_offsets)) {
        return NULL;
    }
    PyInterpreterState **found = NULL;
    for (size_t at = 0; at + 2 * sizeof(void *) <= symbol->st_size; at += sizeof(void *)) {
        PyInterpreterState **pair = (PyInterpreterState **)(void *)(runtime + at);
        if (pair[0] == newest && pair[1] == main) {
            if (found != NULL) {
                return NULL;
            }
            found = pair;
        }
    }
    const debug_offsets *offsets = (const debug_offsets *)(void *)runtime;
    if (found != NULL && memcmp(offsets->cookie, DEBUG_COOKIE, sizeof(offsets->cookie)) == 0
        && runtime + offsets->interpreters_head != (char *)found) {
        return NULL;
    }
    return found;
}

/* Lets CPython know of the main interpreter only. */
static void
forget_interpreters(void)
{
    PyInterpreterState *newest = PyInterpreterState_Head(), *main = PyInterpreterState_Main();
    if (newest == main || PyInterpreterState_Next(main) != NULL) {
        return;
    }
    PyInterpreterState **list = find_list(newest, main);
    if (list != NULL) {
        *list = main;
    }
}

static void
each_part(owngil_fork_step step)
{
    owngil_dynamic_fork(step); /* the one that is no leaf */
    owngil_runtime_fork(step);
    owngil_interp_fork(step);
    owngil_arenas_fork(step);
    owngil_argparsers_fork(step);
    owngil_heap_fork(step);
    owngil_lease_fork(step);
    owngil_sync_fork(step);
    owngil_trace_fork(step); /* after that of interp.c */
}

static void
before(void)
{
    each_part(OWNGIL_FORK_PREPARE);
}

static void
after_in_parent(void)
{
    each_part(OWNGIL_FORK_PARENT);
}

static void
after_in_child(void)
{
    each_part(OWNGIL_FORK_CHILD);
    atomic_fetch_add(&owngil_shared_generation, 1);
    forget_interpreters();
}

static PyObject *
announce(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(unused))
{
    while (!owngil_dynamic_announce_fork()) {
        Py_BEGIN_ALLOW_THREADS
        owngil_dynamic_await_loading();
        Py_END_ALLOW_THREADS
    }
    Py_RETURN_NONE;
}

/* There has been no fork if this is still announced: openpty() may fail in os.forkpty(), say. */
static PyObject *
withdraw(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(unused))
{
    owngil_dynamic_withdraw_fork();
    Py_RETURN_NONE;
}

static PyMethodDef announce_definition = {"announce_fork", announce, METH_NOARGS, NULL};
static PyMethodDef withdraw_definition = {"withdraw_fork", withdraw, METH_NOARGS, NULL};

static int
watch_pythons(void)
{
    PyObject *os = PyImport_ImportModule("os");
    PyObject *register_at_fork = os != NULL ? PyObject_GetAttrString(os, "register_at_fork") : NULL;
    PyObject *nothing = PyTuple_New(0);
    PyObject *functions = Py_BuildValue("{sNsN}", "before", PyCFunction_New(&announce_definition, NULL),
                                        "after_in_parent", PyCFunction_New(&withdraw_definition, NULL));
    PyObject *result = register_at_fork != NULL && nothing != NULL && functions != NULL
                           ? PyObject_Call(register_at_fork, nothing, functions)
                           : NULL;
    int failed = result == NULL;
    Py_XDECREF(result);
    Py_XDECREF(functions);
    Py_XDECREF(nothing);
    Py_XDECREF(register_at_fork);
    Py_XDECREF(os);
    return failed ? -1 : 0;
}

int
owngil_fork_watch(void)
{
    static bool watches; /* guarded by main's GIL */
    if (watches) {
        return 0;
    }
    watches = true; /* even if half of it fails: not twice */
    owngil_dynamic_init();
    errno = pthread_atfork(before, after_in_parent, after_in_child);
    if (errno != 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return watch_pythons();
}
