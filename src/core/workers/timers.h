/* Timers: a function is called at a moment, unless the timer is unset before. One thread of the process, the timers' thread,
 * waits for all of them, blocked until the earliest. It starts with the first timer, and touches no Python object.
 */
#pragma once

#include "base/atfork.h"
#include "base/refcount.h"

#include <stdint.h>

typedef struct owngil_timer {
    /* Constant. */
    owngil_refcounted
        *owner; /* the object that the timer is a part of: lives while the timer is set, and while it expires */
    void (*expire)(struct owngil_timer *self,
                   uint64_t number); /* in the timers' thread: must be quick; may set it anew */
    /* Guarded by the lock of all timers. */
    struct owngil_timer *next, *previous; /* among those that are set */
    bool set;
    int64_t at; /* by owngil_clock_now() */
    uint64_t number; /* that it was set for */
} owngil_timer;

void owngil_timer_init(owngil_timer *self, owngil_refcounted *owner, void (*expire)(owngil_timer *, uint64_t));

/* Sets the timer, or sets it anew, for so many seconds from now. Returns 0 or an errno: there is no thread. Needs no GIL, and
 * does not wait. */
int owngil_timer_set(owngil_timer *self, double seconds, uint64_t number);

/* As set(), but leaves a timer that is set alone: for one that has expired, and may be set for something else by now. */
int owngil_timer_set_again(owngil_timer *self, double seconds, uint64_t number);

/* Unsets the timer. False if it was not set, or has expired: its function may be running, hence the number. */
bool owngil_timer_unset(owngil_timer *self);

/* The child has no thread and no timers. */
void owngil_timers_atfork(owngil_atfork_step step);
