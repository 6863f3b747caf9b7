/* A semaphore of the process; a lock is one with a single permit. No function needs a GIL, see waitable.h.
 *
 * Waiters are served in the order they came. For a millisecond, running threads may overtake them (barging). From then
 * on each permit goes straight to the thread that has waited longest. Always handing over would be fairer still, but
 * each pass would cost a thread's wake-up during which no thread has the lock: many times what the lock protects.
 * CPython's PyMutex, parking_lot and Go's sync.Mutex do the same.
 */
#pragma once

#include "sync/waitable.h"

#define OWNGIL_SEMAPHORE_MAX (INT64_MAX / 2)

typedef struct {
    owngil_waitable waitable;
    _Atomic int64_t state;   /* free permits times two, plus one while there are waiters; that bit needs the lock */
    _Atomic uint64_t holder; /* owngil_waitable_this_thread() of the thread that took the last permit */
    int64_t limit;           /* the most permits that can be free */
} owngil_semaphore;

/* Returns a new semaphore with one reference, or NULL without memory. 0 <= value <= limit <= OWNGIL_SEMAPHORE_MAX. */
owngil_semaphore *owngil_semaphore_new(owngil_kind kind, int64_t value, int64_t limit);

/* Takes a permit if one is free, and returns whether one was. */
bool owngil_semaphore_try_acquire(owngil_semaphore *self);

/* Waits for a permit and takes it: OK, TIMEOUT or INTERRUPTED. A permit that a waiter was offered, but gave up, goes to
 * the next waiter. */
owngil_status owngil_semaphore_acquire(owngil_semaphore *self, owngil_deadline deadline);

/* Gives `count` > 0 permits back. Returns false and changes nothing if more than `limit` were free then. */
bool owngil_semaphore_release(owngil_semaphore *self, int64_t count);

/* Whether this is a lock whose holder was left behind by a fork, and will never release it. */
bool owngil_semaphore_is_lost(owngil_semaphore *self);

/* Returns the number of free permits. */
int64_t owngil_semaphore_value(owngil_semaphore *self);
