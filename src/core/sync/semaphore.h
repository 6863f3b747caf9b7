/* A process-wide semaphore; a lock is one with a single permit. Nothing here needs a GIL, see event.h.
 *
 * Waiters are served in the order they came. Threads that are running already may overtake them for a millisecond
 * (barging); from then on each permit is handed over to the one that waits longest. To hand over always would be fairer
 * still, but then each pass costs a thread's wake-up, during which nobody has the lock: many times what it protects.
 * CPython's PyMutex, parking_lot and Go's sync.Mutex do the same.
 */
#pragma once

#include "base/refcount.h"
#include "sync/waiter.h"

#include <pthread.h>
#include <stdint.h>

#define OWNGIL_SEMAPHORE_MAX (INT64_MAX / 2)

typedef struct {
    owngil_refcounted base;
    _Atomic int64_t state;  /* free permits times two, plus one while there are waiters */
    _Atomic uint64_t holder; /* owngil_after_fork_this_thread() of who took the last permit */
    int64_t limit;          /* no more permits than that can be free */
    pthread_mutex_t lock;   /* guards the list, and changes of the last bit of `state`; a leaf */
    owngil_waiters waiters;
} owngil_semaphore;

/* Returns a new semaphore with one reference, or NULL without memory. 0 <= value <= limit <= OWNGIL_SEMAPHORE_MAX. */
owngil_semaphore *owngil_semaphore_new(owngil_kind kind, int64_t value, int64_t limit);

/* Takes a permit if one is free. */
bool owngil_semaphore_try_acquire(owngil_semaphore *self);

/* Takes a permit: OK, TIMEOUT or INTERRUPTED. Whatever was offered to a waiter that gives up goes to the next one. */
owngil_status owngil_semaphore_acquire(owngil_semaphore *self, owngil_deadline deadline);

/* Gives `count` > 0 permits back. Returns false, and changes nothing, when that were more than `limit`. */
bool owngil_semaphore_release(owngil_semaphore *self, int64_t count);

/* Whether it is a lock that was held, when this process was forked, by a thread that is not here. */
bool owngil_semaphore_is_lost(owngil_semaphore *self);

int64_t owngil_semaphore_value(owngil_semaphore *self);
size_t owngil_semaphore_waiting(owngil_semaphore *self);
