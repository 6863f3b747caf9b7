#include "sync/event.h"

#include "base/atfork.h"

#include <stdlib.h>

void
owngil_waiter_serve(owngil_waiter *self, owngil_code code)
{
    self->done = true;
    self->code = code;
    owngil_waiter_wake(self);
}

void
owngil_waiters_serve_all(owngil_waiters *list, owngil_code code)
{
    owngil_waiter *waiter;
    while ((waiter = owngil_waiters_pop(list)) != NULL) {
        owngil_waiter_serve(waiter, code);
    }
}

owngil_code
owngil_waiters_wait(owngil_waiters *list, pthread_mutex_t *lock, const owngil_deadline *deadline)
{
    owngil_waiter waiter;
    owngil_waiter_init(&waiter, NULL);
    owngil_waiters_add(list, &waiter);
    pthread_mutex_unlock(lock);
    owngil_code code = owngil_waiter_sleep(&waiter, deadline);
    pthread_mutex_lock(lock);
    if (waiter.done) {
        code = waiter.code;
    }
    else {
        owngil_waiters_remove(list, &waiter);
        code = code == OWNGIL_OK ? OWNGIL_INTERRUPTED : code; /* woken by Worker.interrupt() */
    }
    owngil_waiter_clear(&waiter);
    return code;
}

static pthread_mutex_t renewing = PTHREAD_MUTEX_INITIALIZER; /* a leaf */

/* The thread that forked this process; written in the child, where there is no other. */
static uint64_t survivor;

/* The address of it is the thread's, and stays the same in a child. */
static _Thread_local char place;

enum { ADDRESS_BITS = 48 };

static const uint64_t ADDRESS = ((uint64_t)1 << ADDRESS_BITS) - 1;

uint64_t
owngil_sync_me(void)
{
    uint64_t generation = atomic_load_explicit(&owngil_shared_generation, memory_order_relaxed);
    return generation << ADDRESS_BITS | ((uint64_t)(uintptr_t)&place & ADDRESS);
}

bool
owngil_sync_is_here(uint64_t thread)
{
    uint64_t now = atomic_load_explicit(&owngil_shared_generation, memory_order_relaxed);
    return ((thread ^ now << ADDRESS_BITS) & ~ADDRESS) == 0 || (thread & ADDRESS) == survivor;
}

void
owngil_sync_lock(owngil_shared *self, pthread_mutex_t *lock, owngil_waiters *waiters, void (*mend)(owngil_shared *))
{
    if (owngil_shared_is_foreign(self)) {
        pthread_mutex_lock(&renewing);
        if (owngil_shared_is_foreign(self)) {
            pthread_mutex_init(lock, NULL);
            *waiters = (owngil_waiters){0};
            if (mend != NULL) {
                mend(self);
            }
            atomic_store(&self->generation, atomic_load(&owngil_shared_generation));
        }
        pthread_mutex_unlock(&renewing);
    }
    pthread_mutex_lock(lock);
}

void
owngil_sync_fork(owngil_fork_step step)
{
    owngil_fork_lock(step, &renewing);
    if (step == OWNGIL_FORK_CHILD) {
        survivor = (uint64_t)(uintptr_t)&place & ADDRESS;
    }
}

static void
lock_event(owngil_event *self)
{
    owngil_sync_lock(&self->base, &self->lock, &self->waiters, NULL);
}

static void
event_free(owngil_shared *base)
{
    pthread_mutex_destroy(&((owngil_event *)base)->lock);
    free(base);
}

owngil_event *
owngil_event_new(void)
{
    owngil_event *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_shared_init(&self->base, OWNGIL_KIND_EVENT, event_free);
    pthread_mutex_init(&self->lock, NULL);
    atomic_init(&self->set, false);
    atomic_init(&self->times_set, 0);
    return self;
}

void
owngil_event_set(owngil_event *self)
{
    lock_event(self);
    atomic_store(&self->set, true);
    atomic_fetch_add(&self->times_set, 1);
    owngil_waiters_serve_all(&self->waiters, OWNGIL_OK);
    pthread_mutex_unlock(&self->lock);
}

void
owngil_event_clear(owngil_event *self)
{
    lock_event(self);
    atomic_store(&self->set, false);
    pthread_mutex_unlock(&self->lock);
}

owngil_code
owngil_event_wait(owngil_event *self, uint64_t times_set, const owngil_deadline *deadline)
{
    owngil_code code = OWNGIL_OK;
    lock_event(self);
    if (!atomic_load(&self->set) && atomic_load(&self->times_set) == times_set) {
        code = owngil_waiters_wait(&self->waiters, &self->lock, deadline);
    }
    pthread_mutex_unlock(&self->lock);
    return code;
}

size_t
owngil_event_waiting(owngil_event *self)
{
    lock_event(self);
    size_t count = self->waiters.length;
    pthread_mutex_unlock(&self->lock);
    return count;
}

static void
counter_free(owngil_shared *base)
{
    free(base);
}

owngil_counter *
owngil_counter_new(int64_t value)
{
    owngil_counter *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_shared_init(&self->base, OWNGIL_KIND_COUNTER, counter_free);
    atomic_init(&self->value, value);
    return self;
}

bool
owngil_counter_add(owngil_counter *self, int64_t n, int64_t *value)
{
    int64_t before = atomic_load_explicit(&self->value, memory_order_relaxed);
    do {
        if (__builtin_add_overflow(before, n, value)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&self->value, &before, *value));
    return true;
}
