/* The parking lot of a worker's thread: where the thread blocks, so that Worker.interrupt() reaches it there.
 *
 * Only a worker's own thread has one. In other threads Ctrl-C arrives as a signal.
 */
#pragma once

#include "base/refcount.h"
#include "sync/waiter.h"

#include <pthread.h>

/* `blocking` is set while the thread holds its GIL, before it releases it to wait. So a thread that holds that GIL and
 * finds `blocking` unset knows that the worker's thread is not about to block. */
typedef struct {
    pthread_mutex_t lock; /* guards the rest; a leaf; may be locked with or without a GIL */
    bool blocking;
    bool interrupted;
    owngil_waiter *waiter;
    owngil_refcounted *loop; /* owned: of the event loop that last ran on this thread or waited for a queue, or NULL */
    void (*wake_loop)(owngil_refcounted *loop);
} owngil_parking;

void owngil_parking_init(owngil_parking *self);
void owngil_parking_clear(owngil_parking *self);

/* The lot is the calling thread's from now on; NULL: the thread has none. */
void owngil_parking_adopt(owngil_parking *self);

/* Blocks until the waiter is woken, the deadline passes, a signal arrives, or the worker is interrupted: OK, TIMEOUT or
 * INTERRUPTED. Needs no GIL. After OK the waiter was served. Else the caller locks the line and looks at `done`, which
 * alone decides. (Without the lock after OK, because the waker holds it while waking: the woken thread would often have to
 * block once more.) */
owngil_status owngil_parking_block(owngil_waiter *waiter, owngil_deadline deadline);

/* Waits at the end of the line, which the mutex `lock` guards: the server's code, TIMEOUT or INTERRUPTED. Needs the lock,
 * and unlocks it. Clears the waiter, whose `item` stays. */
owngil_status owngil_parking_wait_in_line(owngil_waiters *list, owngil_waiter *waiter, pthread_mutex_t *lock,
                                          owngil_deadline deadline);

/* Around every round of a wait of the calling thread, with its GIL. end() returns whether the worker was interrupted. */
void owngil_parking_begin(void);
bool owngil_parking_end(void);

/* The event loop that may wait on the calling thread now, and how to wake it; and the end of that. Both do nothing if the
 * thread has no parking lot. */
void owngil_parking_watch(owngil_refcounted *loop, void (*wake_loop)(owngil_refcounted *));
void owngil_parking_forget(const owngil_refcounted *loop);

/* Returns true if the thread is in a wait, which now ends with INTERRUPTED. If not, this wakes its event loop, which would
 * block on with an exception that is to be raised at the next bytecode. */
bool owngil_parking_interrupt(owngil_parking *self);
