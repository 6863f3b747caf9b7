#include "sync/event.h"

#include "sync/parking.h"

#include <stdlib.h>

owngil_event *
owngil_event_new(void)
{
    owngil_event *self = calloc(1, sizeof(*self));
    if (self != NULL) {
        owngil_waitable_init(&self->waitable, OWNGIL_KIND_EVENT, owngil_waitable_free, NULL);
        atomic_init(&self->set, false);
        atomic_init(&self->times_set, 0);
    }
    return self;
}

void
owngil_event_set(owngil_event *self)
{
    owngil_waitable_lock(&self->waitable);
    atomic_store(&self->set, true);
    atomic_fetch_add(&self->times_set, 1);
    owngil_waiters_serve_all(&self->waitable.waiters, OWNGIL_OK);
    owngil_waitable_unlock(&self->waitable);
}

void
owngil_event_clear(owngil_event *self)
{
    owngil_waitable_lock(&self->waitable);
    atomic_store(&self->set, false);
    owngil_waitable_unlock(&self->waitable);
}

owngil_status
owngil_event_wait(owngil_event *self, uint64_t times_set, owngil_deadline deadline)
{
    owngil_waitable_lock(&self->waitable);
    if (!atomic_load(&self->set) && atomic_load(&self->times_set) == times_set) {
        owngil_waiter waiter;
        owngil_waiter_init(&waiter, NULL);
        return owngil_parking_wait_in_line(&self->waitable.waiters, &waiter, &self->waitable.lock, deadline);
    }
    owngil_waitable_unlock(&self->waitable);
    return OWNGIL_OK;
}
