/* A wakeup: tells an event loop that its coroutines' transfers are done, by a descriptor that the loop watches and a
 * list.
 *
 * Each loop has one, so thousands of waiting coroutines take one descriptor. The thread that completes a transfer
 * pushes it onto the list, and rings the descriptor if the list was empty: many transfers done at once cost one system
 * call. No function needs a GIL.
 */
#pragma once

#include "base/refcount.h"

#include <stdint.h>

/* An entry of the list, part of an object of which the loop is told. */
typedef struct owngil_wakeup_entry {
    struct owngil_wakeup_entry *next;
    owngil_refcounted *object;
    uint64_t key; /* by which the loop knows the object */
} owngil_wakeup_entry;

typedef struct {
    owngil_refcounted base;
    int fd;                              /* open as long as this lives */
    _Atomic(owngil_wakeup_entry *) list; /* the newest first; or, once the loop is gone, a mark that is no entry */
} owngil_wakeup;

/* Returns a new wakeup with one reference, or NULL with errno set. */
owngil_wakeup *owngil_wakeup_new(void);

/* Tells the loop of the entry's object, and takes a reference to the object. Meanwhile the caller keeps both alive, by
 * the mutex of a queue. Locks nothing. */
void owngil_wakeup_push(owngil_wakeup *self, owngil_wakeup_entry *entry);

/* Wakes the loop without telling it anything. `self` is a wakeup. Locks nothing. */
void owngil_wakeup_wake_loop(owngil_refcounted *self);

/* Takes the list, in the order of the pushes, and silences the descriptor. The caller owns a reference to each
 * object. */
owngil_wakeup_entry *owngil_wakeup_take(owngil_wakeup *self);

/* Drops the list, and from now on each entry that is pushed: the loop is gone. */
void owngil_wakeup_close(owngil_wakeup *self);
