#include "sync/event.h"

#include "sync/after_fork.h"
#include "sync/parking.h"

#include <stdlib.h>

static void
lock_event(owngil_event *self)
{
    owngil_after_fork_lock(&self->base, &self->lock, &self->waiters, NULL);
}

static void
event_free(owngil_refcounted *base)
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
    owngil_refcount_init(&self->base, OWNGIL_KIND_EVENT, event_free);
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

owngil_status
owngil_event_wait(owngil_event *self, uint64_t times_set, owngil_deadline deadline)
{
    lock_event(self);
    if (!atomic_load(&self->set) && atomic_load(&self->times_set) == times_set) {
        owngil_waiter waiter;
        owngil_waiter_init(&waiter, NULL);
        return owngil_parking_wait_in_line(&self->waiters, &waiter, &self->lock, deadline);
    }
    pthread_mutex_unlock(&self->lock);
    return OWNGIL_OK;
}

size_t
owngil_event_waiting(owngil_event *self)
{
    lock_event(self);
    size_t count = self->waiters.length;
    pthread_mutex_unlock(&self->lock);
    return count;
}
