/* Waiting, so that it costs one futex, can always be interrupted, and serves the waiters in their order.
 *
 * A waiter is one thread's place in some line: it lives on that thread's stack, linked in a list that the mutex of the
 * thing waited for guards, and has a semaphore of its own to block on. Together these are a condition variable with two
 * properties that pthread_cond_t lacks: a signal handler ends the wait (sem_wait returns EINTR, pthread_cond_wait does
 * not), and a waker says which waiter it means. Coroutines stand in the same lists without blocking a thread: their
 * waiters have a `wake` of their own (messaging/transfer.h).
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
    void *item;         /* what is handed over, in either direction */
} owngil_waiter;

void owngil_waiter_init(owngil_waiter *self, void *item);
void owngil_waiter_clear(owngil_waiter *self);

/* Spins for a little while until the waiter is woken, instead of blocking: that takes no system call, and no thread has to
 * be woken, which costs several times as much as a small task. It pays only if both threads have a core and the wait is
 * short, so a thread that spun in vain the last times mostly skips it. After SERVED the waiter was served. Needs no GIL.
 * A signal does not end it: after VAIN, give the handlers their turn. */
typedef enum { OWNGIL_SPIN_SERVED, OWNGIL_SPIN_VAIN, OWNGIL_SPIN_SKIPPED } owngil_spin;
owngil_spin owngil_waiter_spin(owngil_waiter *self);

/* Blocks until the waiter is woken, the deadline passes, or a signal arrives: OK, TIMEOUT or INTERRUPTED. Needs no GIL.
 * Threads that a worker may be interrupted in call owngil_parking_block() instead. */
owngil_status owngil_waiter_block(owngil_waiter *self, owngil_deadline deadline);

/* Wakes the waiter, which may be gone as soon as this returns. Needs the line's mutex. */
void owngil_waiter_wake(owngil_waiter *self);

/* Serves a waiter that was taken out of its line: its wait ends with `code`. Needs the line's mutex. */
void owngil_waiter_serve(owngil_waiter *self, owngil_status code);

/* The rounds of a wait. A signal ends a round: its handlers run, and the next round begins, with the place in line that
 * the first one had. These handlers may begin waits of their own. All three are for the calling thread. */
typedef struct {
    int64_t since; /* when the first round began, by owngil_clock_now(); 0: it has not */
    int64_t nap;   /* how long the main thread may block next, in nanoseconds */
} owngil_wait_rounds;
void owngil_wait_rounds_begin(void);
owngil_wait_rounds owngil_wait_rounds_end(void);
void owngil_wait_rounds_go_on(owngil_wait_rounds ended);

/* A line of waiters: first come, first served, by `since`. All functions need the mutex that guards the list. */
typedef struct {
    owngil_waiter *head, *tail;
    size_t length;
} owngil_waiters;

void owngil_waiters_add(owngil_waiters *list, owngil_waiter *waiter);
owngil_waiter *owngil_waiters_pop(owngil_waiters *list); /* NULL when empty */
void owngil_waiters_remove(owngil_waiters *list, owngil_waiter *waiter);
void owngil_waiters_serve_all(owngil_waiters *list, owngil_status code);
