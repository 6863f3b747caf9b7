/* What threads of any interpreters synchronize with: events and counters here, semaphores.h and barrier.h.
 *
 * All of it belongs to the process and outlives the interpreter that made or holds it. Nothing needs a GIL or touches a
 * Python object; what does not wait may as well be called with a GIL held, for no lock is held longer than a moment.
 */
#ifndef OWNGIL_SYNC_H
#define OWNGIL_SYNC_H

#include "base/refcount.h"
#include "sync/waiter.h"
#include <pthread.h>
#include <stdint.h>

typedef struct {
    owngil_shared base;
    atomic_bool set;
    _Atomic uint64_t times_set;
    pthread_mutex_t lock;   /* guards the list, and the others when they change; a leaf */
    owngil_waiters waiters;
} owngil_event;

/* Returns a new event with one reference, or NULL without memory. */
owngil_event *owngil_event_new(void);

void owngil_event_set(owngil_event *self);
void owngil_event_clear(owngil_event *self);

/* OK, TIMEOUT or INTERRUPTED. Who waits when the event is set has waited enough, even if it is cleared at once: hence
 * `times_set`, which is what it was when the first round of the wait began. */
owngil_code owngil_event_wait(owngil_event *self, uint64_t times_set, const owngil_deadline *deadline);

size_t owngil_event_waiting(owngil_event *self);

typedef struct {
    owngil_shared base;
    _Atomic int64_t value;
} owngil_counter;

/* Returns a new counter with one reference, or NULL without memory. */
owngil_counter *owngil_counter_new(int64_t value);

/* Adds `n`, and stores the sum in *value. Returns false, and changes nothing, when it does not fit. */
bool owngil_counter_add(owngil_counter *self, int64_t n, int64_t *value);

/* Locks the mutex of one of these objects. In a forked child, where another thread may have held it and none of its waiters
 * is, whoever comes first makes mutex and list anew, and calls `mend`, if that is not NULL, before anybody uses the object. */
void owngil_sync_lock(owngil_shared *self, pthread_mutex_t *lock, owngil_waiters *waiters, void (*mend)(owngil_shared *));

/* Tells the calling thread from all others; and whether such a one is in this process, or was left behind by a fork. */
uint64_t owngil_sync_me(void);
bool owngil_sync_is_here(uint64_t thread);

/* For lists of waiters that the mutex `lock` guards, which is held: */

/* Tells a waiter, which is out of its list, to return `code`. */
void owngil_waiter_serve(owngil_waiter *self, owngil_code code);
void owngil_waiters_serve_all(owngil_waiters *list, owngil_code code);

/* Waits at the end of the list until served: the server's code, TIMEOUT or INTERRUPTED. Unlocks meanwhile. */
owngil_code owngil_waiters_wait(owngil_waiters *list, pthread_mutex_t *lock, const owngil_deadline *deadline);


#endif
