/* A library to preload: refuses new threads for a while, as a limit on their number does, and counts threads. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_int to_refuse, refused, started;

void
refuse_threads(int count)
{
    atomic_store(&refused, 0);
    atomic_store(&to_refuse, count);
}

int
count_refused(void)
{
    return atomic_load(&refused);
}

int
count_started(void)
{
    return atomic_load(&started);
}

int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *argument)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    if (atomic_load(&to_refuse) > 0) {
        atomic_fetch_sub(&to_refuse, 1);
        atomic_fetch_add(&refused, 1);
        return EAGAIN;
    }
    atomic_fetch_add(&started, 1);
    return next(thread, attributes, main, argument);
}
