/* The parking lot of a worker: where the worker's own thread blocks, so that Worker.interrupt() reaches it.
 *
 * Other threads have none; Ctrl-C reaches them as a signal.
 */
#pragma once

#include "base/refcount.h"
#include "sync/waiter.h"

#include <pthread.h>

/* The thread sets `blocking` while it holds its GIL, before it releases that to wait. So a thread that holds the same
 * GIL and finds `blocking` unset knows that the worker's thread is not about to block. */
typedef struct {
    pthread_mutex_t lock; /* guards the rest; a leaf; may be locked with or without a GIL */
    bool blocking;
    bool interrupted;
    owngil_waiter *waiter;
    owngil_refcounted *loop; /* owned: the event loop that last ran on this thread or waited for a queue, or NULL */
    void (*wake_loop)(owngil_refcounted *loop);
} owngil_parking;

void owngil_parking_init(owngil_parking *self);
void owngil_parking_clear(owngil_parking *self);

/* Makes the lot the calling thread's; NULL: the thread has none. */
void owngil_parking_adopt(owngil_parking *self);

/* Blocks until the waiter is woken, the deadline passes, a signal arrives, or the worker is interrupted: OK, TIMEOUT or
 * INTERRUPTED. Needs no GIL. After OK the waiter was served. After any other code, lock the line and read `done`, which
 * alone decides. (OK needs no lock: the waker holds it while waking, and the woken thread would often block on it.) */
owngil_status owngil_parking_block(owngil_waiter *waiter, owngil_deadline deadline);

/* Waits in the line that the mutex `lock` guards: the server's code, TIMEOUT or INTERRUPTED. Needs the lock, and
 * unlocks it. Clears the waiter, but leaves its `item`. */
owngil_status owngil_parking_wait_in_line(owngil_waiters *list, owngil_waiter *waiter, pthread_mutex_t *lock,
                                          owngil_deadline deadline);

/* Enclose each round of a wait of the calling thread. Need its GIL. end() returns whether the worker was
 * interrupted. */
void owngil_parking_begin(void);
bool owngil_parking_end(void);

/* Remembers the event loop that may wait on the calling thread now, and how to wake it; and forgets that loop. Both do
 * nothing if the thread has no parking lot. */
void owngil_parking_watch(owngil_refcounted *loop, void (*wake_loop)(owngil_refcounted *));
void owngil_parking_forget(const owngil_refcounted *loop);

/* Ends the thread's wait with INTERRUPTED, and returns whether it is in one. If it is not, wakes its event loop, which
 * would otherwise block on, with an exception that is to be raised at the next bytecode. */
bool owngil_parking_interrupt(owngil_parking *self);
