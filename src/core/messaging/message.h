/* A message: what one thread hands to another, made of parts that any interpreter may hold.
 *
 * A message waits in a queue, is taken out of it, or cancelled before that. Exactly one of "taken" and "cancelled"
 * happens in the end, decided by one compare-and-swap, so that whoever cancels knows. Whoever it was has the parts for himself, and
 * lets go of them: others may hold the message for long, to ask what became of it.
 */
#pragma once

#include "base/refcount.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct owngil_message {
    owngil_refcounted base;
    struct owngil_message *next; /* the queue's, guarded by its mutex */
    uint64_t place;              /* in the order in which messages came to the queue; likewise */
    atomic_int state;
    atomic_bool unwanted;        /* a task: it is to fail as it begins */
    struct owngil_waiter
        *waiter;/* of a task: who waits for its answer; guarded by the mutex of the answers' queue ... */
    bool answered;               /* ... as are: whether the answer is there, */
    bool abandoned;              /* and whether no thread is to wait for it here any more */
    uint64_t receiver; /* of the one receiver that may have it, 0: any may; guarded by the mutex of its queue */
    int kind; /* what it is for: sender and receiver agree on the numbers */
    uint64_t id; /* what it belongs to */
    int64_t sent_at; /* of a task: when it was put, by owngil_clock_now(); 0: that is not known */
    uint64_t sent_to; /* likewise the number of its queue */
    size_t count; /* of parts; 0 once they are gone */
    owngil_refcounted *parts[]; /* owned */
} owngil_message;

/* Returns a message with room for `count` parts, all NULL, or NULL without memory. Needs no GIL. */
owngil_message *owngil_message_new(int kind, uint64_t id, size_t count);

/* True for the one caller who takes, or cancels, the message. */
bool owngil_message_take(owngil_message *self);
bool owngil_message_cancel(owngil_message *self);
bool owngil_message_is_taken(owngil_message *self);
bool owngil_message_is_cancelled(owngil_message *self);

/* For the one who has taken the message and, with its parts still there, has it no longer: another may. */
void owngil_message_untake(owngil_message *self);

/* How many bytes the blocks among the parts are. */
int64_t owngil_message_bytes(const owngil_message *self);

/* Lets go of the parts. For the one who has taken the message, or cancelled it. */
void owngil_message_clear(owngil_message *self);
