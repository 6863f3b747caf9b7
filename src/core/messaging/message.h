/* A message: parts that any interpreter may hold, which one thread hands to another.
 *
 * A message waits in a queue until a receiver takes it or a sender cancels it. One compare-and-swap decides which, so
 * the caller of cancel() learns the outcome. The thread that took or cancelled the message owns its parts and releases
 * them: other threads may hold the message for long, to ask what became of it.
 */
#pragma once

#include "base/refcount.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct owngil_message {
    owngil_refcounted base;
    struct owngil_message *next; /* in the queue; this and the next two are guarded by the queue's mutex */
    uint64_t place;              /* in the order in which messages came to the queue */
    uint64_t receiver;           /* number of the one receiver that may have it, 0: any may */
    atomic_int state;
    atomic_bool unwanted;         /* a task that is to fail as it begins */
    struct owngil_waiter *waiter; /* of a task's answer; this and the next two are guarded by the answers' queue */
    bool answered;                /* the answer is there */
    bool abandoned;               /* no thread may wait for the answer here any more */
    int kind;                     /* OWNGIL_MESSAGE_... of kinds.h, or what sender and receiver agree on */
    uint64_t id;                  /* of the task that the message belongs to */
    int64_t sent_at;              /* when the task was put, by owngil_clock_now(); 0: not known */
    uint64_t sent_to;             /* number of the queue that the task was put into; 0: not known */
    size_t count;                 /* of parts; 0 once they are released */
    owngil_refcounted *parts[];   /* owned */
} owngil_message;

/* Returns a message with room for `count` parts, all NULL, or NULL without memory. Needs no GIL. */
owngil_message *owngil_message_new(int kind, uint64_t id, size_t count);

/* Return true if this call took, or cancelled, the message. cancel() then releases the parts. */
bool owngil_message_take(owngil_message *self);
bool owngil_message_cancel(owngil_message *self);
bool owngil_message_is_taken(owngil_message *self);
bool owngil_message_is_cancelled(owngil_message *self);

/* Gives a message that this thread took, with its parts, free to be taken again. */
void owngil_message_untake(owngil_message *self);

/* Returns the number of bytes of the blocks among the parts. */
int64_t owngil_message_bytes(const owngil_message *self);

/* Releases the parts. For the thread that took or cancelled the message. */
void owngil_message_clear(owngil_message *self);
