#include "sync/barrier.h"

#include "sync/after_fork.h"
#include "sync/parking.h"

#include <stdlib.h>

/* The lock is held in the static functions. */

/* In a forked child: of the members of a meeting, all but one at the most are not here. What they would have freed stays. */
static void
end_meeting_of_before(owngil_refcounted *base)
{
    owngil_barrier *self = (owngil_barrier *)base;
    if (self->meeting != NULL && self->arrived > 0) {
        self->meeting->over = self->meeting->broken = true;
        self->broken = true;
    }
    self->meeting = NULL;
    self->arrived = 0;
    self->acting = false;
}

static void
lock_it(owngil_barrier *self)
{
    owngil_after_fork_lock(&self->base, &self->lock, &self->waiters, end_meeting_of_before);
}

/* Waits for the end of the meeting, or of its action. */
static owngil_status
wait_with_others(owngil_barrier *self, owngil_deadline deadline)
{
    owngil_waiter waiter;
    owngil_waiter_init(&waiter, NULL);
    owngil_status code = owngil_parking_wait_in_line(&self->waiters, &waiter, &self->lock, deadline);
    lock_it(self);
    return code;
}

static void
release_meeting(owngil_meeting *meeting)
{
    if (meeting != NULL && --meeting->refs == 0) {
        free(meeting);
    }
}

static void
barrier_free(owngil_refcounted *base)
{
    owngil_barrier *self = (owngil_barrier *)base;
    release_meeting(self->meeting);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

owngil_barrier *
owngil_barrier_new(size_t parties)
{
    owngil_barrier *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_refcount_init(&self->base, OWNGIL_KIND_BARRIER, barrier_free);
    pthread_mutex_init(&self->lock, NULL);
    self->parties = parties;
    return self;
}

/* Ends the meeting, if there is one, and wakes everybody. */
static void
end_meeting(owngil_barrier *self, bool broken)
{
    owngil_meeting *meeting = self->meeting;
    if (meeting != NULL) {
        meeting->over = true;
        meeting->broken = broken;
    }
    self->meeting = NULL;
    self->arrived = 0;
    self->acting = false;
    owngil_waiters_serve_all(&self->waiters, OWNGIL_OK);
    release_meeting(meeting);
}

static void
break_barrier(owngil_barrier *self)
{
    end_meeting(self, true);
    self->broken = true;
}

owngil_status
owngil_barrier_join(owngil_barrier *self, owngil_meeting **meeting, bool *last, bool waits, owngil_deadline deadline)
{
    owngil_status code = OWNGIL_OK;
    lock_it(self);
    while (code == OWNGIL_OK && self->acting) {
        code = waits ? wait_with_others(self, deadline) : OWNGIL_INTERRUPTED;
    }
    if (code == OWNGIL_TIMEOUT) {
        break_barrier(self);
    }
    else if (code == OWNGIL_OK && self->broken) {
        code = OWNGIL_BROKEN;
    }
    else if (code == OWNGIL_OK) {
        if (self->meeting == NULL) {
            self->meeting = calloc(1, sizeof(*self->meeting));
            if (self->meeting != NULL) {
                self->meeting->refs = 1;
            }
        }
        if (self->meeting == NULL) {
            code = OWNGIL_NO_MEMORY;
        }
        else {
            self->meeting->refs++;
            self->arrived++;
            self->acting = self->arrived == self->parties;
            *meeting = self->meeting;
            *last = self->acting;
        }
    }
    pthread_mutex_unlock(&self->lock);
    return code;
}

owngil_status
owngil_barrier_wait(owngil_barrier *self, owngil_meeting *meeting, owngil_deadline deadline)
{
    owngil_status code = OWNGIL_OK;
    lock_it(self);
    if (!meeting->over) {
        code = wait_with_others(self, deadline);
    }
    if (code == OWNGIL_TIMEOUT) {
        break_barrier(self);
    }
    else if (code == OWNGIL_OK && meeting->broken) {
        code = OWNGIL_BROKEN;
    }
    pthread_mutex_unlock(&self->lock);
    return code;
}

owngil_status
owngil_barrier_end(owngil_barrier *self, owngil_meeting *meeting, bool failed)
{
    lock_it(self);
    if (!meeting->over) { /* else somebody broke it, and this one has no say any more */
        if (failed) {
            break_barrier(self);
        }
        else {
            end_meeting(self, false);
        }
    }
    owngil_status code = meeting->broken ? OWNGIL_BROKEN : OWNGIL_OK;
    pthread_mutex_unlock(&self->lock);
    return code;
}

size_t
owngil_barrier_leave(owngil_barrier *self, owngil_meeting *meeting, bool last)
{
    lock_it(self);
    if (!meeting->over && !self->acting) { /* while the action runs, it is too late to be missed */
        self->arrived--;
    }
    size_t number = 0;
    if (last) {
        number = self->parties - 1;
    }
    else if (meeting->over) {
        number = meeting->passed++;
    }
    release_meeting(meeting);
    pthread_mutex_unlock(&self->lock);
    return number;
}

void
owngil_barrier_abort(owngil_barrier *self)
{
    lock_it(self);
    break_barrier(self);
    pthread_mutex_unlock(&self->lock);
}

void
owngil_barrier_reset(owngil_barrier *self)
{
    lock_it(self);
    end_meeting(self, true);
    self->broken = false;
    pthread_mutex_unlock(&self->lock);
}

size_t
owngil_barrier_waiting(owngil_barrier *self)
{
    lock_it(self);
    size_t count = self->arrived;
    pthread_mutex_unlock(&self->lock);
    return count;
}

bool
owngil_barrier_is_broken(owngil_barrier *self)
{
    lock_it(self);
    bool broken = self->broken;
    pthread_mutex_unlock(&self->lock);
    return broken;
}
