#include "sync/semaphore.h"

#include "sync/after_fork.h"
#include "sync/parking.h"

#include <stdlib.h>

/* While the last bit of `state` is unset, nobody waits, and one compare-and-swap takes or gives a permit. Whoever finds
 * no permit sets the bit, with the lock held; from then on permits are given back with the lock held, too, and can only
 * be taken without.
 *
 * Invariant, whenever the lock is free: of the waiters, the first n have been told to come and take one (`called`), where
 * n is the number of free permits. A waiter that was called and comes too late stays where it is in the list. */

enum { WAITERS = 1, PERMIT = 2 };

/* For how long others may overtake a waiter. CPython's PyMutex has the same. */
enum { FAIR_AFTER_NS = 1000000 };

typedef struct {
    owngil_waiter base; /* first, so that the list's pointers are pointers to this; `done`: it was given a permit */
    bool called;        /* guarded by the lock */
} permit_waiter;

static void
semaphore_free(owngil_refcounted *base)
{
    pthread_mutex_destroy(&((owngil_semaphore *)base)->lock);
    free(base);
}

owngil_semaphore *
owngil_semaphore_new(owngil_kind kind, int64_t value, int64_t limit)
{
    owngil_semaphore *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_refcount_init(&self->base, kind, semaphore_free);
    pthread_mutex_init(&self->lock, NULL);
    atomic_init(&self->state, value * PERMIT);
    self->limit = limit;
    return self;
}

/* In a forked child: none of the waiters is here. */
static void
forget_waiters(owngil_refcounted *base)
{
    atomic_fetch_and(&((owngil_semaphore *)base)->state, ~(int64_t)WAITERS);
}

static void
lock_it(owngil_semaphore *self)
{
    owngil_after_fork_lock(&self->base, &self->lock, &self->waiters, forget_waiters);
}

static void
note_holder(owngil_semaphore *self)
{
    atomic_store_explicit(&self->holder, owngil_after_fork_this_thread(), memory_order_relaxed);
}

bool
owngil_semaphore_is_lost(owngil_semaphore *self)
{
    return self->base.kind == OWNGIL_KIND_LOCK && owngil_semaphore_value(self) == 0
           && !owngil_after_fork_has_thread(atomic_load_explicit(&self->holder, memory_order_relaxed));
}

bool
owngil_semaphore_try_acquire(owngil_semaphore *self)
{
    int64_t state = atomic_load_explicit(&self->state, memory_order_relaxed);
    while (state >= PERMIT) {
        if (atomic_compare_exchange_weak_explicit(&self->state, &state, state - PERMIT, memory_order_acquire,
                                                  memory_order_relaxed)) {
            note_holder(self);
            return true;
        }
    }
    return false;
}

/* Takes a permit, or announces that there is a waiter. The lock is held. */
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

/* Restores what must hold before the lock is unlocked. */
static void
call_waiters(owngil_semaphore *self)
{
    if (self->waiters.head == NULL) {
        atomic_fetch_and(&self->state, ~(int64_t)WAITERS);
        return;
    }
    int64_t permits = atomic_load(&self->state) / PERMIT;
    for (owngil_waiter *at = self->waiters.head; at != NULL && permits > 0; at = at->next, permits--) {
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

    lock_it(self);
    owngil_waiters_add(&self->waiters, &waiter.base);
    bool got = take_or_announce(self);
    while (!got && code == OWNGIL_OK) {
        waiter.called = false;
        pthread_mutex_unlock(&self->lock);
        code = owngil_parking_block(&waiter.base, deadline);
        lock_it(self);
        if (waiter.base.done) {
            got = true;
        }
        else if (waiter.called) { /* even if its time is over, or a signal came: it may be in time */
            got = take_or_announce(self);
        }
        else if (code == OWNGIL_OK) {
            code = OWNGIL_INTERRUPTED; /* woken by Worker.interrupt() */
        }
    }
    if (!waiter.base.done) {
        owngil_waiters_remove(&self->waiters, &waiter.base);
    }
    call_waiters(self);
    pthread_mutex_unlock(&self->lock);
    owngil_waiter_clear(&waiter.base);
    if (got) {
        note_holder(self);
    }
    return got ? OWNGIL_OK : code;
}

/* Gives permits back while there are waiters. Returns false when there are none any more. */
static bool
release_to_waiters(owngil_semaphore *self, int64_t count, bool *fits)
{
    lock_it(self);
    bool waiters = self->waiters.head != NULL;
    /* Nobody else can give any back meanwhile, so what fits now fits below. */
    *fits = count <= self->limit - atomic_load(&self->state) / PERMIT;
    if (waiters && *fits) {
        int64_t now = owngil_clock_now();
        while (count > 0 && self->waiters.head != NULL && now - self->waiters.head->since >= FAIR_AFTER_NS) {
            owngil_waiter_serve(owngil_waiters_pop(&self->waiters), OWNGIL_OK);
            count--;
        }
        atomic_fetch_add(&self->state, count * PERMIT);
        call_waiters(self);
    }
    pthread_mutex_unlock(&self->lock);
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

size_t
owngil_semaphore_waiting(owngil_semaphore *self)
{
    lock_it(self);
    size_t count = self->waiters.length;
    pthread_mutex_unlock(&self->lock);
    return count;
}
