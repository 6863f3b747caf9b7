/* Timers: each calls a function at a moment, unless it is unset before.
 *
 * One thread of the process, the timer thread, blocks until the earliest. It starts with the first timer, and touches
 * no Python object.
 */
#pragma once

#include "base/atfork.h"
#include "base/refcount.h"

#include <stdint.h>

typedef struct owngil_timer {
    /* Constant. The timer is a part of `owner`, which lives while the timer is set, and while it expires. expire() runs
     * in the timer thread, must be quick, and may set the timer anew. */
    owngil_refcounted *owner;
    void (*expire)(struct owngil_timer *self, uint64_t number);
    /* Guarded by the lock of all timers. */
    struct owngil_timer *next, *previous; /* among those that are set */
    bool set;
    int64_t at;      /* by owngil_clock_now() */
    uint64_t number; /* that it was set for */
} owngil_timer;

void owngil_timer_init(owngil_timer *self, owngil_refcounted *owner, void (*expire)(owngil_timer *, uint64_t));

/* Sets the timer for so many seconds from now. Sets a timer that is set anew if `replaces`, else leaves it alone.
 * Returns 0, or an errno if the timer thread cannot start. Needs no GIL, and does not wait. */
int owngil_timer_set(owngil_timer *self, double seconds, uint64_t number, bool replaces);

/* Unsets the timer. Returns false if it was not set or has expired: expire() may still be running, with the number it
 * was set for. */
bool owngil_timer_unset(owngil_timer *self);

/* The child of a fork has no timer thread and no timers. */
void owngil_timers_atfork(owngil_atfork_step step);
