#include "sync/barrier.h"

#include "sync/parking.h"

#include <stdlib.h>

/* All static functions but barrier_free() need the lock. */

/* Ends the meeting, if there is one, so that the next can begin. Returns it, with the barrier's reference to it. */
static owngil_meeting *
detach_meeting(owngil_barrier *self, bool broken)
{
    owngil_meeting *meeting = self->meeting;
    if (meeting != NULL) {
        meeting->over = true;
        meeting->broken = broken;
    }
    self->meeting = NULL;
    self->arrived = 0;
    self->acting = false;
    return meeting;
}

static void
release_meeting(owngil_meeting *meeting)
{
    if (meeting != NULL && --meeting->refs == 0) {
        free(meeting);
    }
}

/* An inherited barrier breaks if it had members: all but one at the most are not in this process. Their meeting is
 * never freed, because they never release it. */
static void
renew_barrier(owngil_waitable *waitable)
{
    owngil_barrier *self = (owngil_barrier *)waitable;
    self->broken = self->broken || self->arrived > 0;
    (void)detach_meeting(self, true);
}

/* Waits for the end of the meeting, or of its action. Unlocks the barrier meanwhile. */
static owngil_status
wait_for_end(owngil_barrier *self, owngil_deadline deadline)
{
    owngil_waiter waiter;
    owngil_waiter_init(&waiter, NULL);
    owngil_status code = owngil_parking_wait_in_line(&self->waitable.waiters, &waiter, &self->waitable.lock, deadline);
    owngil_waitable_lock(&self->waitable);
    return code;
}

static void
barrier_free(owngil_refcounted *base)
{
    release_meeting(((owngil_barrier *)base)->meeting);
    owngil_waitable_free(base);
}

owngil_barrier *
owngil_barrier_new(size_t parties)
{
    owngil_barrier *self = calloc(1, sizeof(*self));
    if (self != NULL) {
        owngil_waitable_init(&self->waitable, OWNGIL_KIND_BARRIER, barrier_free, renew_barrier);
        self->parties = parties;
    }
    return self;
}

/* Ends the meeting, if there is one, and wakes all waiters. */
static void
end_meeting(owngil_barrier *self, bool broken)
{
    owngil_meeting *meeting = detach_meeting(self, broken);
    owngil_waiters_serve_all(&self->waitable.waiters, OWNGIL_OK);
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
    owngil_waitable_lock(&self->waitable);
    while (code == OWNGIL_OK && self->acting) {
        code = waits ? wait_for_end(self, deadline) : OWNGIL_INTERRUPTED;
    }
    if (code == OWNGIL_TIMEOUT) {
        break_barrier(self);
    }
    else if (code == OWNGIL_OK && self->broken) {
        code = OWNGIL_BROKEN;
    }
    else if (code == OWNGIL_OK) {
        if (self->meeting == NULL && (self->meeting = calloc(1, sizeof(*self->meeting))) != NULL) {
            self->meeting->refs = 1;
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
    owngil_waitable_unlock(&self->waitable);
    return code;
}

owngil_status
owngil_barrier_wait(owngil_barrier *self, owngil_meeting *meeting, owngil_deadline deadline)
{
    owngil_status code = OWNGIL_OK;
    owngil_waitable_lock(&self->waitable);
    if (!meeting->over) {
        code = wait_for_end(self, deadline);
    }
    if (code == OWNGIL_TIMEOUT) {
        break_barrier(self);
    }
    else if (code == OWNGIL_OK && meeting->broken) {
        code = OWNGIL_BROKEN;
    }
    owngil_waitable_unlock(&self->waitable);
    return code;
}

owngil_status
owngil_barrier_end(owngil_barrier *self, owngil_meeting *meeting, bool failed)
{
    owngil_waitable_lock(&self->waitable);
    if (!meeting->over) { /* else another thread broke the barrier before */
        end_meeting(self, failed);
        self->broken = self->broken || failed;
    }
    owngil_status code = meeting->broken ? OWNGIL_BROKEN : OWNGIL_OK;
    owngil_waitable_unlock(&self->waitable);
    return code;
}

size_t
owngil_barrier_leave(owngil_barrier *self, owngil_meeting *meeting, bool last)
{
    owngil_waitable_lock(&self->waitable);
    if (!meeting->over && !self->acting) { /* the action runs only for a meeting that is complete: too late to leave */
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
    owngil_waitable_unlock(&self->waitable);
    return number;
}

void
owngil_barrier_abort(owngil_barrier *self)
{
    owngil_waitable_lock(&self->waitable);
    break_barrier(self);
    owngil_waitable_unlock(&self->waitable);
}

void
owngil_barrier_reset(owngil_barrier *self)
{
    owngil_waitable_lock(&self->waitable);
    end_meeting(self, true);
    self->broken = false;
    owngil_waitable_unlock(&self->waitable);
}

size_t
owngil_barrier_waiting(owngil_barrier *self)
{
    owngil_waitable_lock(&self->waitable);
    size_t count = self->arrived;
    owngil_waitable_unlock(&self->waitable);
    return count;
}

bool
owngil_barrier_is_broken(owngil_barrier *self)
{
    owngil_waitable_lock(&self->waitable);
    bool broken = self->broken;
    owngil_waitable_unlock(&self->waitable);
    return broken;
}
