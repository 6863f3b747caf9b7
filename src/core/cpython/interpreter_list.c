#include "cpython/interpreter_list.h"

#include "base/compat.h"

#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <string.h>

static PyInterpreterState **list; /* the place of CPython's pointer to its newest interpreter; NULL: not found */

/* Whether the list may be there: the pointer to the main interpreter is the next one. */
static bool
may_be_at(PyInterpreterState **place)
{
    return place[0] == PyInterpreterState_Head() && place[1] == PyInterpreterState_Main();
}

#if PY_VERSION_HEX >= 0x030D0000

/* The start of _PyRuntime. It is made for debuggers and has not changed since 3.13. */
typedef struct {
    char cookie[8];
    uint64_t version, free_threaded, runtime_size, finalizing, interpreters_head;
} debug_offsets;

static PyInterpreterState **
find_list(char *runtime)
{
    static const char cookie[] = "xdebugpy";
    const debug_offsets *offsets = (const debug_offsets *)(void *)runtime;
    if (memcmp(offsets->cookie, cookie, sizeof(offsets->cookie)) != 0 || offsets->version != Py_Version
        || offsets->interpreters_head % sizeof(void *) != 0
        || offsets->interpreters_head + 2 * sizeof(void *) > offsets->runtime_size) {
        return NULL;
    }
    PyInterpreterState **place = (PyInterpreterState **)(void *)(runtime + offsets->interpreters_head);
    return may_be_at(place) ? place : NULL;
}

#else

/* Searches all of _PyRuntime. There must be exactly one such place. */
static PyInterpreterState **
find_list(char *runtime)
{
    Dl_info info;
    const ElfW(Sym) *symbol = NULL;
    if (!dladdr1(runtime, &info, (void **)&symbol, RTLD_DL_SYMENT) || symbol == NULL || info.dli_saddr != runtime) {
        return NULL;
    }
    PyInterpreterState **found = NULL;
    for (size_t at = 0; at + 2 * sizeof(void *) <= symbol->st_size; at += sizeof(void *)) {
        PyInterpreterState **place = (PyInterpreterState **)(void *)(runtime + at);
        if (may_be_at(place)) {
            if (found != NULL) {
                return NULL;
            }
            found = place;
        }
    }
    return found;
}

#endif

bool
owngil_interpreter_list_find(void)
{
    char *runtime = dlsym(RTLD_DEFAULT, "_PyRuntime");
    list = runtime != NULL ? find_list(runtime) : NULL;
    return list != NULL;
}

void
owngil_interpreter_list_forget(void)
{
    if (list != NULL && may_be_at(list) && PyInterpreterState_Next(PyInterpreterState_Main()) == NULL) {
        *list = PyInterpreterState_Main();
    }
}
