/* A flag of the process that threads of any interpreter wait for. No function needs a GIL, see waitable.h. */
#pragma once

#include "sync/waitable.h"

typedef struct {
    owngil_waitable waitable;
    atomic_bool set;            /* this and the next change with the lock held only */
    _Atomic uint64_t times_set;
} owngil_event;

/* Returns a new event with one reference, or NULL without memory. */
owngil_event *owngil_event_new(void);

void owngil_event_set(owngil_event *self);
void owngil_event_clear(owngil_event *self);

/* Waits until the event is set: OK, TIMEOUT or INTERRUPTED. The wait ends when the event is set, even if another thread
 * clears it at once. So the caller passes the `times_set` that the event had when the first round of the wait began. */
owngil_status owngil_event_wait(owngil_event *self, uint64_t times_set, owngil_deadline deadline);
