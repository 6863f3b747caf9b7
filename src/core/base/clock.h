/* The monotonic clock, which is that of time.monotonic_ns(): the one clock of the core, in nanoseconds. */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <time.h>

enum { OWNGIL_CLOCK_SECOND = 1000000000, OWNGIL_CLOCK_MILLISECOND = 1000000 };

static inline int64_t
owngil_clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * OWNGIL_CLOCK_SECOND + now.tv_nsec;
}

/* The moment `seconds` >= 0 from now; INT64_MAX if that is in more than thirty years. */
static inline int64_t
owngil_clock_after(double seconds)
{
    return seconds < 1e9 ? owngil_clock_now() + (int64_t)(seconds * OWNGIL_CLOCK_SECOND) : INT64_MAX;
}

/* The moment, or the duration, as the C library has it. */
static inline struct timespec
owngil_clock_timespec(int64_t nanoseconds)
{
    return (struct timespec){.tv_sec = (time_t)(nanoseconds / OWNGIL_CLOCK_SECOND),
                             .tv_nsec = (long)(nanoseconds % OWNGIL_CLOCK_SECOND)};
}

/* Initializes a condition variable for owngil_clock_wait(): PTHREAD_COND_INITIALIZER would take the wall clock. */
static inline void
owngil_clock_init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Waits for the condition until that moment: pthread_cond_timedwait(). Returns 0 or an errno, ETIMEDOUT for one. */
static inline int
owngil_clock_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t until)
{
    struct timespec at = owngil_clock_timespec(until);
    return pthread_cond_timedwait(condition, lock, &at);
}
