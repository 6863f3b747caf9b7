#include "cpython/tracemalloc_hooks.h"

#include <dlfcn.h>

enum { RAW, MEM, OBJ, DOMAINS };

static const PyMemAllocatorDomain domain_of[DOMAINS] = {PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};

/* For each domain: tracemalloc's allocator, for main, and what lies below it, for all other interpreters. */
static PyMemAllocatorEx for_main[DOMAINS], for_others[DOMAINS];
static PyMemAllocatorEx original_raw;
static _Thread_local bool left_out;

/* A thread may read an allocator while another thread replaces it, and then call the new function with the context of
 * the former one. So the functions here do not use their context; and it is an allocator, themselves, as tracemalloc's
 * functions expect it. */

static void *
plain_malloc(void *Py_UNUSED(context), size_t size)
{
    return original_raw.malloc(original_raw.ctx, size);
}

static void *
plain_calloc(void *Py_UNUSED(context), size_t count, size_t size)
{
    return original_raw.calloc(original_raw.ctx, count, size);
}

static void *
plain_realloc(void *Py_UNUSED(context), void *address, size_t size)
{
    return original_raw.realloc(original_raw.ctx, address, size);
}

static void
plain_free(void *Py_UNUSED(context), void *address)
{
    original_raw.free(original_raw.ctx, address);
}

static PyMemAllocatorEx plain = {
    .ctx = &plain, .malloc = plain_malloc, .calloc = plain_calloc, .realloc = plain_realloc, .free = plain_free};

/* Whether the calling thread allocates for the main interpreter, or for none. */
static inline bool
is_for_main(void)
{
    PyThreadState *tstate = PyThreadState_GetUnchecked();
    if (tstate == NULL) { /* only in the raw domain */
        tstate = left_out ? NULL : PyGILState_GetThisThreadState();
        return !left_out && (tstate == NULL || PyThreadState_GetInterpreter(tstate) == PyInterpreterState_Main());
    }
    return PyThreadState_GetInterpreter(tstate) == PyInterpreterState_Main();
}

/* Removes the trace of a block that main allocated and another interpreter frees. Only raw memory changes hands. */
static inline void
forget(int domain, const void *address)
{
    if (domain == RAW && address != NULL) {
        (void)PyTraceMalloc_Untrack(0, (uintptr_t)address);
    }
}

#define DEFINE_HOOKS(name, domain) \
    static void *name##_malloc(void *Py_UNUSED(context), size_t size) \
    { \
        const PyMemAllocatorEx *next = is_for_main() ? &for_main[domain] : &for_others[domain]; \
        return next->malloc(next->ctx, size); \
    } \
    static void *name##_calloc(void *Py_UNUSED(context), size_t count, size_t size) \
    { \
        const PyMemAllocatorEx *next = is_for_main() ? &for_main[domain] : &for_others[domain]; \
        return next->calloc(next->ctx, count, size); \
    } \
    static void *name##_realloc(void *Py_UNUSED(context), void *address, size_t size) \
    { \
        if (is_for_main()) { \
            return for_main[domain].realloc(for_main[domain].ctx, address, size); \
        } \
        forget(domain, address); \
        return for_others[domain].realloc(for_others[domain].ctx, address, size); \
    } \
    static void name##_free(void *Py_UNUSED(context), void *address) \
    { \
        if (is_for_main()) { \
            for_main[domain].free(for_main[domain].ctx, address); \
        } \
        else { \
            forget(domain, address); \
            for_others[domain].free(for_others[domain].ctx, address); \
        } \
    }

DEFINE_HOOKS(raw, RAW)
DEFINE_HOOKS(mem, MEM)
DEFINE_HOOKS(obj, OBJ)

#define HOOK(name, domain) \
    {.ctx = &hooks[domain], \
     .malloc = name##_malloc, \
     .calloc = name##_calloc, \
     .realloc = name##_realloc, \
     .free = name##_free}
static PyMemAllocatorEx hooks[DOMAINS] = {[RAW] = HOOK(raw, RAW), [MEM] = HOOK(mem, MEM), [OBJ] = HOOK(obj, OBJ)};

void
owngil_tracemalloc_hooks_prepare(void)
{
    bool is_alone = PyInterpreterState_Next(PyInterpreterState_Head()) == NULL;
    if (original_raw.malloc == NULL && is_alone && !owngil_tracemalloc_hooks_is_tracing()) {
        PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &original_raw);
        PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &plain);
    }
}

/* Whether the functions of both allocators belong to CPython or to this module: so `below`, which was found by the
 * context of `above`, is an allocator. */
static bool
is_plausible(const PyMemAllocatorEx *above, const PyMemAllocatorEx *below)
{
    Dl_info python, own, info;
    return dladdr((const void *)PyMem_GetAllocator, &python) != 0 && dladdr((const void *)hooks, &own) != 0
           && dladdr((const void *)above->malloc, &info) != 0 && info.dli_fbase == python.dli_fbase
           && dladdr((const void *)below->malloc, &info) != 0
           && (info.dli_fbase == python.dli_fbase || info.dli_fbase == own.dli_fbase);
}

int
owngil_tracemalloc_hooks_install(void)
{
    PyMemAllocatorEx above[DOMAINS], below[DOMAINS];
    for (int k = 0; k < DOMAINS; k++) {
        PyMem_GetAllocator(domain_of[k], &above[k]);
        if (above[k].malloc == hooks[k].malloc) {
            return 0;
        }
        if (above[k].ctx == NULL) {
            return -1;
        }
        below[k] = *(const PyMemAllocatorEx *)above[k].ctx;
        if (!is_plausible(&above[k], &below[k])) {
            return -1;
        }
    }
    for (int k = 0; k < DOMAINS; k++) {
        for_main[k] = above[k];
        for_others[k] = below[k];
        PyMem_SetAllocator(domain_of[k], &hooks[k]);
    }
    return 0;
}

void
owngil_tracemalloc_hooks_leave_out(bool leaves_out)
{
    left_out = leaves_out;
}
