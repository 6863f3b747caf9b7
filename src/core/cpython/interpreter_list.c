#include "cpython/interpreter_list.h"

#include "base/compat.h"

#include <dlfcn.h>
#include <link.h>
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

void
owngil_interpreter_list_forget(void)
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
