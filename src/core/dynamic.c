#include "dynamic.h"

#include <dlfcn.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* before all leaves */
static _Thread_local int depth;                          /* how often this thread has entered */

static void
enter(void)
{
    if (depth++ == 0) {
        pthread_mutex_lock(&lock);
    }
}

static void
leave(void)
{
    if (--depth == 0) {
        pthread_mutex_unlock(&lock);
    }
}

void *
owngil_dynamic_open(const char *name, int flags)
{
    enter();
    void *handle = dlopen(name, flags);
    leave();
    return handle;
}

int
owngil_dynamic_close(void *handle)
{
    enter();
    int error = dlclose(handle);
    leave();
    return error;
}

void
owngil_dynamic_fork(owngil_fork_step step)
{
    switch (step) {
    case OWNGIL_FORK_PREPARE:
        enter();
        break;
    case OWNGIL_FORK_PARENT:
    case OWNGIL_FORK_CHILD:
        leave();
        break;
    }
}
