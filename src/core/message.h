/* A message: what one thread hands to another, made of parts that any interpreter may hold.
 *
 * A message is immutable but for its state: waiting in a queue, taken out of it, or cancelled before that. Exactly one
 * of "taken" and "cancelled" ever happens, decided by one compare-and-swap, so that whoever cancels knows.
 */
#ifndef OWNGIL_MESSAGE_H
#define OWNGIL_MESSAGE_H

#include "shared.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct owngil_message {
    owngil_shared base;
    struct owngil_message *next; /* the queue's, guarded by its mutex */
    atomic_int state;
    int kind;                    /* what it is for: sender and receiver agree on the numbers */
    uint64_t id;                 /* what it belongs to */
    size_t count;
    owngil_shared *parts[];      /* owned */
} owngil_message;

/* Returns a message with room for `count` parts, all NULL, or NULL without memory. Needs no GIL. */
owngil_message *owngil_message_new(int kind, uint64_t id, size_t count);

/* True for the one caller who takes, or cancels, the message. */
bool owngil_message_take(owngil_message *self);
bool owngil_message_cancel(owngil_message *self);
bool owngil_message_is_taken(owngil_message *self);

#endif
