/* For LD_PRELOAD: a dynamic loader that returns the first private copy again for each later one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

void *
dlopen(const char *name, int flags)
{
    static char first[1024];
    void *(*original)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    if (name != NULL && strncmp(name, "/proc/self/fd/", 14) == 0) {
        if (first[0] == '\0') {
            strncpy(first, name, sizeof(first) - 1);
        }
        name = first;
    }
    return original(name, flags);
}
