/* A process-wide flag that threads of any interpreters wait for.
 *
 * This and the other things to synchronize with (counter.h, semaphore.h, barrier.h) belong to the process and outlive the
 * interpreter that made or holds them. No function needs a GIL or touches a Python object. Those that do not wait may be
 * called with a GIL held, because no lock is held longer than a moment.
 */
#pragma once

#include "base/refcount.h"
#include "sync/waiter.h"

#include <pthread.h>
#include <stdint.h>

typedef struct {
    owngil_refcounted base;
    atomic_bool set;
    _Atomic uint64_t times_set;
    pthread_mutex_t lock;   /* guards the list, and the others when they change; a leaf */
    owngil_waiters waiters;
} owngil_event;

/* Returns a new event with one reference, or NULL without memory. */
owngil_event *owngil_event_new(void);

void owngil_event_set(owngil_event *self);
void owngil_event_clear(owngil_event *self);

/* Returns OK, TIMEOUT or INTERRUPTED. A thread that waits when the event is set has waited enough, even if the event is
 * cleared at once: hence `times_set`, the event's count when the first round of the wait began. */
owngil_status owngil_event_wait(owngil_event *self, uint64_t times_set, owngil_deadline deadline);

size_t owngil_event_waiting(owngil_event *self);
