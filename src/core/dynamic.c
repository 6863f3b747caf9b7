#include "dynamic.h"

#include <dlfcn.h>
#include <stdbool.h>

/* Before all leaves. Whoever loads, unloads, or runs constructors and destructors shares it; a fork has it alone, and
 * goes before those who come later. */
static const pthread_rwlock_t unlocked = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static _Thread_local int depth; /* how often this thread has entered */

void
owngil_dynamic_enter(void)
{
    if (depth++ == 0) {
        pthread_rwlock_rdlock(&lock);
    }
}

void
owngil_dynamic_leave(void)
{
    if (--depth == 0) {
        pthread_rwlock_unlock(&lock);
    }
}

void *
owngil_dynamic_open(const char *name, int flags)
{
    owngil_dynamic_enter();
    void *handle = dlopen(name, flags);
    owngil_dynamic_leave();
    return handle;
}

int
owngil_dynamic_close(void *handle)
{
    owngil_dynamic_enter();
    int error = dlclose(handle);
    owngil_dynamic_leave();
    return error;
}

void
owngil_dynamic_fork(owngil_fork_step step)
{
    /* A constructor that forks is in the middle of this already, and shares the lock with others. */
    bool shares = depth > 0;
    switch (step) {
    case OWNGIL_FORK_PREPARE:
        if (!shares) {
            pthread_rwlock_wrlock(&lock);
        }
        break;
    case OWNGIL_FORK_PARENT:
        if (!shares) {
            pthread_rwlock_unlock(&lock);
        }
        break;
    case OWNGIL_FORK_CHILD:
        if (!shares) {
            pthread_rwlock_unlock(&lock);
        }
        lock = unlocked; /* threads that waited for it, or shared it, are not there any more */
        if (shares) {
            pthread_rwlock_rdlock(&lock);
        }
        break;
    }
}
