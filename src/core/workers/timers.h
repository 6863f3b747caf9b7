/* Alarms: what is to be done at a moment unless it is called off. One thread of the process waits for all of them, asleep
 * until the earliest; it starts with the first alarm, and touches no Python object.
 */
#ifndef OWNGIL_ALARM_H
#define OWNGIL_ALARM_H

#include "base/refcount.h"
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef struct owngil_alarm {
    /* Constant. */
    owngil_shared *owner; /* what the alarm is a part of: lives as long as the alarm is set, and while it rings */
    void (*ring)(struct owngil_alarm *self, uint64_t number); /* in the thread of all alarms: must be quick; may set it anew */
    /* Guarded by the lock of all alarms. */
    struct owngil_alarm *next, *previous; /* among those that are set */
    bool set;
    struct timespec at;
    uint64_t number;                      /* what it was set for */
} owngil_alarm;

void owngil_alarm_init(owngil_alarm *self, owngil_shared *owner, void (*ring)(owngil_alarm *, uint64_t));

/* Sets the alarm, or sets it anew, for so many seconds from now. Returns 0 or an errno: there is no thread. Needs no GIL, and
 * does not wait. */
int owngil_alarm_set(owngil_alarm *self, double seconds, uint64_t number);

/* As set(), but leaves an alarm that is set as it is: for one that has rung, and may be set for something else by now. */
int owngil_alarm_set_again(owngil_alarm *self, double seconds, uint64_t number);

/* Calls the alarm off. False if it was not set, or has rung; it may be ringing at this moment: hence the number. */
bool owngil_alarm_unset(owngil_alarm *self);

#endif
