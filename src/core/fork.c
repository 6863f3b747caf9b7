#include "fork.h"

#include "arenas.h"
#include "argparsers.h"
#include "dynamic.h"
#include "heap.h"
#include "interp.h"
#include "lease.h"
#include "runtime.h"
#include "trace.h"

#include <dlfcn.h>
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

/* How many of the handlers below have been called for a fork of this thread: they may be registered more than once. */
static _Thread_local int handlers;

static void
before(void)
{
    if (handlers++ == 0) {
        each_part(OWNGIL_FORK_PREPARE);
    }
}

/* Whether this is the last handler of a fork, which undoes what the first has done. */
static bool
is_last(void)
{
    return handlers > 0 && --handlers == 0;
}

static void
after_in_parent(void)
{
    if (is_last()) {
        each_part(OWNGIL_FORK_PARENT);
    }
}

static void
after_in_child(void)
{
    if (is_last()) {
        each_part(OWNGIL_FORK_CHILD);
        atomic_fetch_add(&owngil_shared_generation, 1);
        forget_interpreters();
    }
}

int
owngil_fork_watch(void)
{
    static bool watches; /* guarded by main's GIL */
    if (watches) {
        return 0;
    }
    int error = owngil_fork_watch_again();
    watches = error == 0;
    return error;
}

int
owngil_fork_watch_again(void)
{
    return pthread_atfork(before, after_in_parent, after_in_child);
}
