/* Waiters and their lines: a wait costs one futex, can always be interrupted, and is served in order.
 *
 * A waiter is one thread's place in a line. It lives on that thread's stack, is linked in a list that the line's mutex
 * guards, and has a semaphore of its own to block on. This is a condition variable with two properties that
 * pthread_cond_t lacks: a signal handler ends the wait (sem_wait returns EINTR, pthread_cond_wait does not), and a
 * waker chooses the waiter. Coroutines stand in the same lines without blocking a thread: their waiters have a `wake`
 * of their own (messaging/transfer.h).
 */
#pragma once

#include "base/status.h"
#include "sync/deadline.h"

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct owngil_waiter {
    struct owngil_waiter *next, *previous;
    sem_t sem;
    void (*wake)(struct owngil_waiter *); /* NULL: a thread blocks on `sem`. Called with the line's mutex held */
    int64_t since;      /* when the wait began, by owngil_clock_now(); constant */
    uint64_t receiver;  /* number of the receiver that waits for a message, 0: it has none; constant */
    bool done;          /* guarded by the line's mutex: the waiter was served */
    owngil_status code; /* the outcome, once it is done */
    void *item;         /* handed over, in either direction */
} owngil_waiter;

void owngil_waiter_init(owngil_waiter *self, void *item);
void owngil_waiter_clear(owngil_waiter *self);

/* Spins for a moment until the waiter is woken, instead of blocking. This saves system calls and a thread's wake-up,
 * which costs several times as much as a small task. It pays only if both threads have a core and the wait is short, so
 * a thread that spun in vain the last times mostly skips it. SERVED: the waiter was served. VAIN: run signal handlers
 * now, because a signal does not end the spinning. Needs no GIL. */
typedef enum { OWNGIL_SPIN_SERVED, OWNGIL_SPIN_VAIN, OWNGIL_SPIN_SKIPPED } owngil_spin;
owngil_spin owngil_waiter_spin(owngil_waiter *self);

/* Blocks until the waiter is woken, the deadline passes, or a signal arrives: OK, TIMEOUT or INTERRUPTED. Needs no GIL.
 * A thread in which a worker may be interrupted calls owngil_parking_block() instead. */
owngil_status owngil_waiter_block(owngil_waiter *self, owngil_deadline deadline);

/* Wakes the waiter, which may be gone as soon as this returns. Needs the line's mutex. */
void owngil_waiter_wake(owngil_waiter *self);

/* Ends the wait of a waiter that was taken out of its line, with `code`. Needs the line's mutex. */
void owngil_waiter_serve(owngil_waiter *self, owngil_status code);

/* The rounds of the calling thread's wait. A signal ends a round: its handlers run, and the next round begins, with the
 * first round's place in line. The handlers may begin waits of their own. */
typedef struct {
    int64_t since; /* when the first round began, by owngil_clock_now(); 0: it has not */
    int64_t nap;   /* how long the main thread may block next, in nanoseconds */
} owngil_wait_rounds;
void owngil_wait_rounds_begin(void);
owngil_wait_rounds owngil_wait_rounds_end(void);
void owngil_wait_rounds_go_on(owngil_wait_rounds ended);

/* A line of waiters: first come, first served, by `since`. All functions need the mutex that guards the line. */
typedef struct {
    owngil_waiter *head, *tail;
    size_t length;
} owngil_waiters;

void owngil_waiters_add(owngil_waiters *list, owngil_waiter *waiter);
owngil_waiter *owngil_waiters_pop(owngil_waiters *list); /* NULL when empty */
void owngil_waiters_remove(owngil_waiters *list, owngil_waiter *waiter);
void owngil_waiters_serve_all(owngil_waiters *list, owngil_status code);
