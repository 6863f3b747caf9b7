#include "sync/semaphore.h"

#include "sync/parking.h"

#include <stdlib.h>

/* While the WAITERS bit of `state` is unset, one compare-and-swap takes or gives a permit. A thread that finds no
 * permit sets the bit, with the lock held. From then on permits are given back with the lock held, but still taken
 * without it.
 *
 * Invariant, whenever the lock is free: of n free permits and the waiters, the first n waiters have been told to take
 * one (`called`). A called waiter that finds no permit left keeps its place in line. */

enum { WAITERS = 1, PERMIT = 2 };

/* For how long other threads may overtake a waiter; as in CPython's PyMutex. */
enum { FAIR_AFTER = OWNGIL_CLOCK_MILLISECOND };

typedef struct {
    owngil_waiter base; /* first: a pointer in the line is a pointer to this; `done`: the waiter was given a permit */
    bool called;        /* guarded by the lock */
} permit_waiter;

/* An inherited semaphore has no waiters. */
static void
forget_waiters(owngil_waitable *self)
{
    atomic_fetch_and(&((owngil_semaphore *)self)->state, ~(int64_t)WAITERS);
}

owngil_semaphore *
owngil_semaphore_new(owngil_kind kind, int64_t value, int64_t limit)
{
    owngil_semaphore *self = calloc(1, sizeof(*self));
    if (self != NULL) {
        owngil_waitable_init(&self->waitable, kind, owngil_waitable_free, forget_waiters);
        atomic_init(&self->state, value * PERMIT);
        self->limit = limit;
    }
    return self;
}

static void
remember_holder(owngil_semaphore *self)
{
    atomic_store_explicit(&self->holder, owngil_waitable_this_thread(), memory_order_relaxed);
}

bool
owngil_semaphore_is_lost(owngil_semaphore *self)
{
    return self->waitable.base.kind == OWNGIL_KIND_LOCK && owngil_semaphore_value(self) == 0
           && !owngil_waitable_has_thread(atomic_load_explicit(&self->holder, memory_order_relaxed));
}

bool
owngil_semaphore_try_acquire(owngil_semaphore *self)
{
    int64_t state = atomic_load_explicit(&self->state, memory_order_relaxed);
    while (state >= PERMIT) {
        if (atomic_compare_exchange_weak_explicit(&self->state, &state, state - PERMIT, memory_order_acquire,
                                                  memory_order_relaxed)) {
            remember_holder(self);
            return true;
        }
    }
    return false;
}

/* Takes a permit and returns true, or announces a waiter. Needs the lock. */
static bool
take_or_announce(owngil_semaphore *self)
{
    int64_t state = atomic_load(&self->state);
    for (;;) {
        int64_t next = state >= PERMIT ? state - PERMIT : state | WAITERS;
        if (atomic_compare_exchange_weak(&self->state, &state, next)) {
            return state >= PERMIT;
        }
    }
}

/* Restores the invariant before the lock is unlocked. Needs the lock. */
static void
call_waiters(owngil_semaphore *self)
{
    if (self->waitable.waiters.head == NULL) {
        atomic_fetch_and(&self->state, ~(int64_t)WAITERS);
        return;
    }
    int64_t permits = atomic_load(&self->state) / PERMIT;
    for (owngil_waiter *at = self->waitable.waiters.head; at != NULL && permits > 0; at = at->next, permits--) {
        permit_waiter *waiter = (permit_waiter *)at;
        if (!waiter->called) {
            waiter->called = true;
            owngil_waiter_wake(at);
        }
    }
}

owngil_status
owngil_semaphore_acquire(owngil_semaphore *self, owngil_deadline deadline)
{
    permit_waiter waiter = {.called = false};
    owngil_waiter_init(&waiter.base, NULL);
    owngil_status code = OWNGIL_OK;

    owngil_waitable_lock(&self->waitable);
    owngil_waiters_add(&self->waitable.waiters, &waiter.base);
    bool got = take_or_announce(self);
    while (!got && code == OWNGIL_OK) {
        waiter.called = false;
        owngil_waitable_unlock(&self->waitable);
        code = owngil_parking_block(&waiter.base, deadline);
        owngil_waitable_lock(&self->waitable);
        if (waiter.base.done) {
            got = true;
        }
        else if (waiter.called) { /* after a timeout or a signal, too: the permit may be there */
            got = take_or_announce(self);
        }
        else if (code == OWNGIL_OK) {
            code = OWNGIL_INTERRUPTED; /* Worker.interrupt() woke it */
        }
    }
    if (!waiter.base.done) {
        owngil_waiters_remove(&self->waitable.waiters, &waiter.base);
    }
    call_waiters(self);
    owngil_waitable_unlock(&self->waitable);
    owngil_waiter_clear(&waiter.base);
    if (got) {
        remember_holder(self);
    }
    return got ? OWNGIL_OK : code;
}

/* Gives permits back if there are waiters, and returns whether there are. *fits is false if they exceed the limit, and
 * then nothing changes. */
static bool
release_to_waiters(owngil_semaphore *self, int64_t count, bool *fits)
{
    owngil_waitable_lock(&self->waitable);
    bool waiters = self->waitable.waiters.head != NULL;
    /* With waiters, permits come back under the lock only: what fits now fits below. */
    *fits = count <= self->limit - atomic_load(&self->state) / PERMIT;
    if (waiters && *fits) {
        int64_t now = owngil_clock_now();
        while (count > 0 && self->waitable.waiters.head != NULL
               && now - self->waitable.waiters.head->since >= FAIR_AFTER) {
            owngil_waiter_serve(owngil_waiters_pop(&self->waitable.waiters), OWNGIL_OK);
            count--;
        }
        atomic_fetch_add(&self->state, count * PERMIT);
        call_waiters(self);
    }
    owngil_waitable_unlock(&self->waitable);
    return waiters;
}

bool
owngil_semaphore_release(owngil_semaphore *self, int64_t count)
{
    int64_t state = atomic_load_explicit(&self->state, memory_order_relaxed);
    for (;;) {
        if (state & WAITERS) {
            bool fits;
            if (release_to_waiters(self, count, &fits)) {
                return fits;
            }
            state = atomic_load_explicit(&self->state, memory_order_relaxed);
        }
        else if (count > self->limit - state / PERMIT) {
            return false;
        }
        else if (atomic_compare_exchange_weak_explicit(&self->state, &state, state + count * PERMIT,
                                                       memory_order_release, memory_order_relaxed)) {
            return true;
        }
    }
}

int64_t
owngil_semaphore_value(owngil_semaphore *self)
{
    return atomic_load(&self->state) / PERMIT;
}
