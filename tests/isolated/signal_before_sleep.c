/* A library to preload: Ctrl-C for the main thread at the last moment before it sleeps, where it does not end the sleep. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

static atomic_int to_skip, to_send;

/* Before the main thread's next sleeps but for the first `skipped`, `count` times. */
void
signal_before_sleep(int skipped, int count)
{
    atomic_store(&to_skip, skipped);
    atomic_store(&to_send, count);
}

int
count_unsent(void)
{
    return atomic_load(&to_send);
}

static void
before_sleep(void)
{
    if (gettid() == getpid() && atomic_load(&to_send) > 0 && atomic_fetch_sub(&to_skip, 1) <= 0) {
        atomic_fetch_sub(&to_send, 1);
        raise(SIGINT);
    }
}

int
sem_wait(sem_t *semaphore)
{
    int (*next)(sem_t *) = dlsym(RTLD_NEXT, "sem_wait");
    before_sleep();
    return next(semaphore);
}

int
sem_timedwait(sem_t *semaphore, const struct timespec *until)
{
    int (*next)(sem_t *, const struct timespec *) = dlsym(RTLD_NEXT, "sem_timedwait");
    before_sleep();
    return next(semaphore, until);
}

int
sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until)
{
    int (*next)(sem_t *, clockid_t, const struct timespec *) = dlsym(RTLD_NEXT, "sem_clockwait");
    before_sleep();
    return next(semaphore, clock, until);
}
