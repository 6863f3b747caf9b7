/* How an event loop hears that its coroutines' transfers are done: a descriptor that the loop watches, and a list.
 *
 * There is one for each loop, so that thousands of waiting coroutines take one descriptor. The thread that completes a
 * transfer pushes it onto the list, and rings the descriptor if the list was empty: many that are done at once cost one
 * system call.
 */
#pragma once

#include "base/refcount.h"

#include <stdint.h>

/* An entry of the list, part of the object that the loop is to hear of. */
typedef struct owngil_wakeup_entry {
    struct owngil_wakeup_entry *next;
    owngil_refcounted *object;
    uint64_t key; /* by which the loop knows the object */
} owngil_wakeup_entry;

typedef struct {
    owngil_refcounted base;
    int fd;                             /* lives as long as this */
    _Atomic(owngil_wakeup_entry *) list; /* the newest first; or, once the loop is gone, a mark that is no entry */
} owngil_wakeup;

/* Returns a new one with one reference, or NULL with errno set. Needs no GIL. */
owngil_wakeup *owngil_wakeup_new(void);

/* Tells the loop of the entry's object, and takes a reference to that. The caller keeps both alive meanwhile, by the mutex
 * of a queue. Needs no GIL, and locks nothing. */
void owngil_wakeup_push(owngil_wakeup *self, owngil_wakeup_entry *entry);

/* Wakes the loop with nothing to tell. `self` is a wakeup. Needs no GIL, and locks nothing. */
void owngil_wakeup_wake_loop(owngil_refcounted *self);

/* Takes the list, in the order of the pushes, and silences the descriptor. The caller owns a reference to each object.
 * Needs no GIL. */
owngil_wakeup_entry *owngil_wakeup_take(owngil_wakeup *self);

/* The loop is gone: drops the list, and each entry that is pushed later. Needs no GIL. */
void owngil_wakeup_close(owngil_wakeup *self);
