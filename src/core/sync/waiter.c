#include "sync/waiter.h"

#include "platform/thread.h"

#include <assert.h>
#include <errno.h>

enum { FIRST_NAP = 50 * OWNGIL_CLOCK_MILLISECOND };

static _Thread_local owngil_wait_rounds rounds = {.since = 0, .nap = FIRST_NAP};

void
owngil_wait_rounds_begin(void)
{
    if (rounds.since == 0) {
        rounds.since = owngil_clock_now();
    }
}

owngil_wait_rounds
owngil_wait_rounds_end(void)
{
    const owngil_wait_rounds ended = rounds;
    rounds = (owngil_wait_rounds){.since = 0, .nap = FIRST_NAP};
    return ended;
}

void
owngil_wait_rounds_go_on(owngil_wait_rounds ended)
{
    rounds = ended;
}

void
owngil_waiter_init(owngil_waiter *self, void *item)
{
    *self = (owngil_waiter){.since = rounds.since != 0 ? rounds.since : owngil_clock_now(), .item = item};
    sem_init(&self->sem, 0, 0);
}

void
owngil_waiter_clear(owngil_waiter *self)
{
    sem_destroy(&self->sem);
}

owngil_spin
owngil_waiter_spin(owngil_waiter *self)
{
    /* Some 40 us: longer than it takes to wake the other thread, so that of two threads that answer each other one can
     * begin with this, and then the other. */
    enum { TURNS = 500, MOST_FAILURES = 4, SKIPS = 64 };
    static _Thread_local int failures, skips;
    if (skips > 0) {
        skips--;
        return OWNGIL_SPIN_SKIPPED;
    }
    for (int k = 0; k < TURNS; k++) {
        if (sem_trywait(&self->sem) == 0) {
            failures = 0;
            return OWNGIL_SPIN_SERVED;
        }
        owngil_thread_relax();
    }
    if (++failures >= MOST_FAILURES) {
        skips = SKIPS;
        failures = MOST_FAILURES - 1;
    }
    return OWNGIL_SPIN_VAIN;
}

static owngil_status
block_until(owngil_waiter *self, owngil_deadline deadline)
{
    int failed =
        deadline == OWNGIL_DEADLINE_NEVER ? sem_wait(&self->sem) : owngil_thread_wait_semaphore(&self->sem, deadline);
    return !failed ? OWNGIL_OK : errno == ETIMEDOUT ? OWNGIL_TIMEOUT : OWNGIL_INTERRUPTED;
}

/* How the main thread blocks, in which Python runs the handlers of signals.
 *
 * A signal that arrives after Python has last looked and before the thread blocks does not end the wait. Only some
 * instructions lie between the two, but the thread releases its GIL there, so other threads run at just that moment, and
 * their work may be what the signal is about. A semaphore cannot wait and watch for signals in one step. So the thread
 * wakes up by itself, after a nap that doubles each time, to begin another round of the same wait. A signal is late by
 * about as long as the wait has lasted, at most, and a wait of an hour is disturbed sixteen times. */
static owngil_status
block_in_naps(owngil_waiter *self, owngil_deadline deadline)
{
    owngil_deadline end = owngil_clock_now() + rounds.nap;
    if (deadline <= end) {
        return block_until(self, deadline);
    }
    owngil_status code = block_until(self, end);
    if (code == OWNGIL_TIMEOUT) {
        rounds.nap *= 2;
        code = OWNGIL_INTERRUPTED;
    }
    return code;
}

owngil_status
owngil_waiter_block(owngil_waiter *self, owngil_deadline deadline)
{
    return owngil_thread_is_main() ? block_in_naps(self, deadline) : block_until(self, deadline);
}

void
owngil_waiter_wake(owngil_waiter *self)
{
    if (self->wake != NULL) {
        self->wake(self);
    }
    else {
        sem_post(&self->sem);
    }
}

void
owngil_waiter_serve(owngil_waiter *self, owngil_status code)
{
    self->code = code;
    self->done = true;
    owngil_waiter_wake(self);
}

void
owngil_waiters_add(owngil_waiters *list, owngil_waiter *waiter)
{
    owngil_waiter *before = list->tail;
    while (before != NULL && before->since > waiter->since) {
        before = before->previous;
    }
    waiter->previous = before;
    waiter->next = before != NULL ? before->next : list->head;
    *(before != NULL ? &before->next : &list->head) = waiter;
    *(waiter->next != NULL ? &waiter->next->previous : &list->tail) = waiter;
    list->length++;
}

owngil_waiter *
owngil_waiters_pop(owngil_waiters *list)
{
    owngil_waiter *first = list->head;
    if (first != NULL) {
        owngil_waiters_remove(list, first);
    }
    return first;
}

void
owngil_waiters_remove(owngil_waiters *list, owngil_waiter *waiter)
{
    assert(list->length > 0);
    *(waiter->previous != NULL ? &waiter->previous->next : &list->head) = waiter->next;
    *(waiter->next != NULL ? &waiter->next->previous : &list->tail) = waiter->previous;
    list->length--;
}

void
owngil_waiters_serve_all(owngil_waiters *list, owngil_status code)
{
    owngil_waiter *waiter;
    while ((waiter = owngil_waiters_pop(list)) != NULL) {
        owngil_waiter_serve(waiter, code);
    }
}
