/* Blocking, so that it costs one futex and can always be interrupted.
 *
 * A waiter is one thread's place in some queue: it lives on that thread's stack, linked in a list that the queue's
 * mutex guards, and sleeps on a semaphore of its own. Together these are a condition variable with two properties
 * that pthread_cond_t lacks: a signal handler ends the wait (sem_wait returns EINTR, pthread_cond_wait does not), and
 * whoever wakes a waiter says which one, first come first served. (Waiters of coroutines stand in the same lists, but
 * nobody sleeps: see wakeup.h.)
 */
#ifndef OWNGIL_WAIT_H
#define OWNGIL_WAIT_H

#include "base/status.h"
#include <pthread.h>
#include <stdbool.h>

typedef struct owngil_waiter {
    struct owngil_waiter *next, *previous;
    sem_t sem;
    struct owngil_wakeup *wakeup; /* NULL: a thread sleeps on `sem`; else whom to tell instead, see wakeup.h */
    int64_t since; /* when the wait began, on the monotonic clock, in nanoseconds; constant */
    uint64_t receiver; /* who waits for a message, 0: nobody in particular; constant */
    bool done;       /* guarded by the queue's mutex: somebody has served this waiter */
    owngil_code code;/* what became of it, once done */
    void *item;      /* what is handed over, in either direction */
} owngil_waiter;

/* A moment on the monotonic clock, or never. */
typedef struct {
    bool never;
    struct timespec at;
} owngil_deadline;

/* Never and immediately. */
extern const owngil_deadline owngil_deadline_never, owngil_deadline_now;

/* True if there is no time to wait at all. */
static inline bool
owngil_deadline_is_now(const owngil_deadline *self)
{
    return !self->never && self->at.tv_sec == 0 && self->at.tv_nsec == 0;
}

/* `timeout` is None (never) or a number of seconds. Returns 0, or -1 with ValueError or TypeError set. Needs the GIL. */
int owngil_deadline_from_object(PyObject *timeout, owngil_deadline *deadline);

/* Nanoseconds on the monotonic clock. */
int64_t owngil_wait_now(void);

/* `wakeup` is NULL afterwards. */
void owngil_waiter_init(owngil_waiter *self, void *item);
void owngil_waiter_clear(owngil_waiter *self);

/* Sleeps until the waiter is woken, the deadline passes, or a signal arrives: OK, TIMEOUT or INTERRUPTED. Needs no GIL.
 * After OK the waiter was served. Else the caller locks the queue and looks at `done`, which alone decides. (Without the
 * lock after OK, because who serves holds it while waking: the woken thread would often have to sleep once more.) */
owngil_code owngil_waiter_sleep(owngil_waiter *self, const owngil_deadline *deadline);

/* Looks for a little while whether the waiter is woken, instead of sleeping: then that takes no system call, and no thread has
 * to be woken, which costs several times as much as a small task. It pays only where both threads have a core, and what is
 * waited for comes soon: a thread for which it was in vain the last times does it rarely, else NONE. After FOUND the waiter
 * was served. Needs no GIL. A signal's handler should be given its turn after VAIN: a signal does not end this. */
typedef enum { OWNGIL_LOOK_FOUND, OWNGIL_LOOK_VAIN, OWNGIL_LOOK_NONE } owngil_look;
owngil_look owngil_waiter_look(owngil_waiter *self);

/* Wakes the waiter; it may be gone as soon as this returns. Called with the queue's mutex held. */
void owngil_waiter_wake(owngil_waiter *self);

/* Where a worker's thread blocks, so that Worker.interrupt() can reach it there. Only a worker's own thread has one;
 * elsewhere Ctrl-C arrives as a signal.
 *
 * `blocking` is set while the thread holds its GIL, before it lets go of it to wait: so whoever holds that GIL and
 * finds `blocking` unset knows that the thread is not about to sleep. */
typedef struct {
    pthread_mutex_t lock; /* guards the rest; may be taken with or without a GIL, nothing is locked while it is held */
    bool blocking;
    bool interrupted;
    owngil_waiter *waiter;
    struct owngil_wakeup *wakeup; /* owned: of the event loop that last ran on this thread or waited for a queue, or NULL */
} owngil_parking;

void owngil_parking_init(owngil_parking *self);
void owngil_parking_clear(owngil_parking *self);
void owngil_parking_adopt(owngil_parking *self); /* from now on the calling thread's; NULL: none */

/* The event loop of `wakeup` is the one that may be waiting on the calling thread now; and, if it still is: no longer. Both
 * lock the parking, if the thread has one. */
void owngil_parking_watch(struct owngil_wakeup *wakeup);
void owngil_parking_forget(const struct owngil_wakeup *wakeup);

/* True if the thread is in a wait, which now ends with INTERRUPTED. If not, its event loop is woken, lest it sleep on with
 * an exception that is to be raised at the next bytecode. */
bool owngil_parking_interrupt(owngil_parking *self);

/* Around every round of a wait, in this order: begin (GIL held), the wait (GIL released), end (GIL held).
 * `end` turns the wait's code into what happens in Python: 0 when the code stands, 1 when the wait must be repeated,
 * -1 with the exception set that a signal handler or Worker.interrupt() raised. If the wait was over by then, the exception
 * is raised after the caller has returned; or at once, when the caller can undo what the wait brought. */
void owngil_wait_begin(void);
int owngil_wait_end(owngil_code code);
int owngil_wait_end_to_undo(owngil_code code);

/* First come, first served: who begins another round of a wait has the place that is due to it, but none in between. */
typedef struct {
    owngil_waiter *head, *tail;
    size_t length;
} owngil_waiters;

void owngil_waiters_add(owngil_waiters *list, owngil_waiter *waiter);
owngil_waiter *owngil_waiters_pop(owngil_waiters *list); /* NULL when empty */
void owngil_waiters_remove(owngil_waiters *list, owngil_waiter *waiter);

#endif
