/* A library to preload: sends SIGINT to the main thread just before it sleeps, too early to end the sleep. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

static atomic_int to_skip, to_send, to_send_after;
static _Atomic double first_sleep;

/* Skip `skipped` sleeps of the main thread, then send a signal before each of the next `count` sleeps. */
void
signal_before_sleep(int skipped, int count)
{
    atomic_store(&first_sleep, 0);
    atomic_store(&to_skip, skipped);
    atomic_store(&to_send, count);
}

/* Send a signal after each of the main thread's next `count` sleeps that another thread ends. */
void
signal_after_sleep(int count)
{
    atomic_store(&to_send_after, count);
}

/* Return the timeout, in seconds, of the main thread's first sleep since signal_before_sleep(); infinity if none. */
double
first_sleep_length(void)
{
    return atomic_load(&first_sleep);
}

int
count_unsent(void)
{
    return atomic_load(&to_send);
}

static void
before_sleep(clockid_t clock, const struct timespec *until)
{
    if (gettid() != getpid()) {
        return;
    }
    if (atomic_load(&first_sleep) == 0) {
        struct timespec now;
        clock_gettime(clock, &now);
        atomic_store(&first_sleep, until == NULL ? INFINITY
                                                 : (double)(until->tv_sec - now.tv_sec)
                                                       + (double)(until->tv_nsec - now.tv_nsec) / 1e9);
    }
    if (atomic_load(&to_send) > 0 && atomic_fetch_sub(&to_skip, 1) <= 0) {
        atomic_fetch_sub(&to_send, 1);
        raise(SIGINT);
    }
}

static int
after_sleep(int failed)
{
    if (!failed && gettid() == getpid() && atomic_load(&to_send_after) > 0) {
        atomic_fetch_sub(&to_send_after, 1);
        raise(SIGINT);
    }
    return failed;
}

int
sem_wait(sem_t *semaphore)
{
    int (*next)(sem_t *) = dlsym(RTLD_NEXT, "sem_wait");
    before_sleep(CLOCK_MONOTONIC, NULL);
    return after_sleep(next(semaphore));
}

int
sem_timedwait(sem_t *semaphore, const struct timespec *until)
{
    int (*next)(sem_t *, const struct timespec *) = dlsym(RTLD_NEXT, "sem_timedwait");
    before_sleep(CLOCK_REALTIME, until);
    return after_sleep(next(semaphore, until));
}

int
sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until)
{
    int (*next)(sem_t *, clockid_t, const struct timespec *) = dlsym(RTLD_NEXT, "sem_clockwait");
    before_sleep(clock, until);
    return after_sleep(next(semaphore, clock, until));
}
