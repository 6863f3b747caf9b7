/* A process-wide barrier, with an action that the last one to arrive runs. Nothing here needs a GIL, see event.h. */
#pragma once

#include "base/refcount.h"
#include "sync/waiter.h"

#include <pthread.h>
#include <stdint.h>

/* One meeting at a barrier. Its members know it by pointer, so that one who was away to run a signal handler learns what
 * became of it, however many meetings there were since. Guarded by the barrier's lock. */
typedef struct {
    size_t refs;    /* of the barrier, and of each member */
    bool over;
    bool broken;    /* once it is over: not everybody came */
    size_t passed;  /* members that went on, but for the last to arrive */
} owngil_meeting;

typedef struct {
    owngil_refcounted base;
    size_t parties;
    pthread_mutex_t lock;    /* guards everything below; a leaf */
    owngil_meeting *meeting; /* that new members join; NULL: none yet, or `broken` */
    size_t arrived;          /* its members */
    bool acting;             /* all have arrived, and the last one is running the action */
    bool broken;
    owngil_waiters waiters;  /* members, and who came too late: all wait for the end of the meeting */
} owngil_barrier;

/* Returns a new barrier with one reference, or NULL without memory. `parties` > 0. */
owngil_barrier *owngil_barrier_new(size_t parties);

/* Joins the meeting: OK, BROKEN, TIMEOUT (the barrier is broken now), INTERRUPTED or NO_MEMORY. After OK, the caller is
 * the member of *meeting until owngil_barrier_leave(); and if *last is true, the others wait for owngil_barrier_end().
 * Waits while an action runs; or, without `waits`, returns INTERRUPTED then. */
owngil_status owngil_barrier_join(owngil_barrier *self, owngil_meeting **meeting, bool *last, bool waits,
                                  owngil_deadline deadline);

/* For a member that is not the last: waits for the end. OK, BROKEN, TIMEOUT (the barrier is broken now), or INTERRUPTED,
 * after which the caller still is a member. */
owngil_status owngil_barrier_wait(owngil_barrier *self, owngil_meeting *meeting, owngil_deadline deadline);

/* For the last one. Lets all members go on, or breaks the barrier if `failed`. OK, or BROKEN when that had happened. */
owngil_status owngil_barrier_end(owngil_barrier *self, owngil_meeting *meeting, bool failed);

/* Ends the membership; in a meeting that is not over, one member less has arrived. Returns the member's number: that of the
 * last one is the highest, the others are numbered from 0 as they go on. */
size_t owngil_barrier_leave(owngil_barrier *self, owngil_meeting *meeting, bool last);

/* Lets everybody who waits go with BROKEN; the barrier is broken from then on, or as new. */
void owngil_barrier_abort(owngil_barrier *self);
void owngil_barrier_reset(owngil_barrier *self);

size_t owngil_barrier_waiting(owngil_barrier *self);
bool owngil_barrier_is_broken(owngil_barrier *self);
