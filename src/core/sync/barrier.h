/* A barrier of the process, with an action that the last thread to arrive runs. No function needs a GIL, see
 * waitable.h. */
#pragma once

#include "sync/waitable.h"

/* One meeting at a barrier. Each member keeps a pointer to its meeting: after running a signal handler, it learns how
 * the meeting ended, however many there were since. Guarded by the barrier's lock. */
typedef struct {
    size_t refs;   /* of the barrier and of each member */
    bool over;
    bool broken;   /* once it is over: it ended before all had arrived, or the action failed */
    size_t passed; /* members that went on, without the last to arrive */
} owngil_meeting;

/* Members, and threads that came too late, wait in its line for the end of the meeting. */
typedef struct {
    owngil_waitable waitable;
    size_t parties;
    owngil_meeting *meeting; /* that new members join; NULL: none yet, or `broken` */
    size_t arrived;          /* its members */
    bool acting;             /* all have arrived, and the last one is running the action */
    bool broken;
} owngil_barrier;

/* Returns a new barrier with one reference, or NULL without memory. `parties` > 0. */
owngil_barrier *owngil_barrier_new(size_t parties);

/* Joins the meeting: OK, BROKEN, TIMEOUT (which breaks the barrier), INTERRUPTED or NO_MEMORY. After OK, the caller is
 * a member of *meeting until owngil_barrier_leave(). If *last is true, the others wait for its owngil_barrier_end().
 * While an action runs, this waits; without `waits` it returns INTERRUPTED instead. */
owngil_status owngil_barrier_join(owngil_barrier *self, owngil_meeting **meeting, bool *last, bool waits,
                                  owngil_deadline deadline);

/* Waits for the end of the meeting: OK, BROKEN, TIMEOUT (which breaks the barrier), or INTERRUPTED, after which the
 * caller still is a member. Not for the last member. */
owngil_status owngil_barrier_wait(owngil_barrier *self, owngil_meeting *meeting, owngil_deadline deadline);

/* Ends the meeting for its last member: all go on, or the barrier breaks if `failed`. Returns OK, or BROKEN if the
 * barrier is broken now or was before. */
owngil_status owngil_barrier_end(owngil_barrier *self, owngil_meeting *meeting, bool failed);

/* Ends the membership. A meeting that is not over has one arrival less then. Returns the member's number: the highest
 * for the last member, and from 0 up for the others as they go on. */
size_t owngil_barrier_leave(owngil_barrier *self, owngil_meeting *meeting, bool last);

/* Both end all waits with BROKEN. Afterwards the barrier is broken (abort), or as new (reset). */
void owngil_barrier_abort(owngil_barrier *self);
void owngil_barrier_reset(owngil_barrier *self);

size_t owngil_barrier_waiting(owngil_barrier *self);
bool owngil_barrier_is_broken(owngil_barrier *self);
