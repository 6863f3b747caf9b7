/* How an event loop hears that waiters of its coroutines were served: an eventfd that the loop watches, and a list.
 *
 * One for each loop, so that thousands of waiting coroutines take one descriptor. Whoever serves a waiter pushes its
 * transfer onto the list, and writes to the eventfd if the list was empty: many that are served at once cost one write.
 */
#ifndef OWNGIL_WAKEUP_H
#define OWNGIL_WAKEUP_H

#include "base/refcount.h"
#include "sync/waiter.h"

typedef struct owngil_wakeup {
    owngil_shared base;
    int fd;                         /* the eventfd, which lives as long as this */
    _Atomic(owngil_waiter *) served;/* the newest first; or, once nobody listens, a mark that is no waiter */
} owngil_wakeup;

/* Returns a new one with one reference, or NULL with errno set. Needs no GIL. */
owngil_wakeup *owngil_wakeup_new(void);

/* The waiter, of a transfer, was served. Called with the queue's mutex held, under which the waiter holds a reference to
 * the wakeup; takes a reference to the transfer. Needs no GIL, and locks nothing. */
void owngil_wakeup_ring(owngil_wakeup *self, owngil_waiter *waiter);

/* Wakes the loop with nothing to tell. Needs no GIL, and locks nothing. */
void owngil_wakeup_nudge(owngil_wakeup *self);

/* Takes the transfers that were served, linked by their waiters' `next` in the order they were served, and silences the
 * eventfd. The caller owns a reference to each. Needs no GIL. */
owngil_waiter *owngil_wakeup_take(owngil_wakeup *self);

/* Nobody listens any more: forgets what was served, and what will be. Needs no GIL. */
void owngil_wakeup_close(owngil_wakeup *self);

#endif
