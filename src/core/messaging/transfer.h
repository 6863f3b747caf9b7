/* A transfer: a message's way into or out of a queue, for senders and receivers that cannot block or may have to undo
 * it.
 *
 * A transfer is done at once, or waits in the queue's lines among the blocked threads; a wakeup then says when it is
 * done. Until its owner confirms it, it can be undone: a received message returns to its place in the queue or goes to
 * the next receiver, and a sent message is taken back unless a receiver has it. So no message is lost, whatever happens
 * to a receiver between being served and having the object (an interrupt, a cancelled coroutine).
 *
 * The interpreter that made a transfer owns it; all functions are for threads with its GIL. The owner confirms,
 * withdraws or undoes it before it releases its reference.
 */
#pragma once

#include "messaging/queue.h"
#include "messaging/wakeup.h"

typedef struct {
    owngil_refcounted base;
    owngil_waiter waiter;      /* in the queue until `done`; guarded by the queue, as is the next */
    owngil_wakeup *wakeup;     /* owned: of the event loop that waits for this; NULL: no loop waits (any more) */
    owngil_wakeup_entry entry; /* in the wakeup's list once this is done */
    owngil_queue *queue;
    owngil_message *message;   /* the message to send; NULL: this transfer receives */
    bool decided;              /* confirmed, withdrawn or undone */
} owngil_transfer;

/* Each of these three returns a new transfer with one reference, or NULL without memory. None needs a GIL; all but the
 * first lock the queue.
 *
 * received() has a message that was taken from the queue. It takes over the reference, even if it fails. */
owngil_transfer *owngil_transfer_received(owngil_queue *queue, owngil_message *message);

/* Receives; waits in the queue if there is no message. */
owngil_transfer *owngil_transfer_receive(owngil_queue *queue, owngil_wakeup *wakeup, uint64_t key);

/* Sends; waits in the queue if there is no room. Takes a reference of its own to the message. */
owngil_transfer *owngil_transfer_send(owngil_queue *queue, owngil_message *message, owngil_wakeup *wakeup,
                                      uint64_t key);

/* Returns whether the transfer is done, and sets *code to the outcome. Locks the queue. */
bool owngil_transfer_is_done(owngil_transfer *self, owngil_status *code);

/* Returns the message that was received (borrowed), or NULL. For a transfer that is done and not decided. */
owngil_message *owngil_transfer_message(owngil_transfer *self);

/* Confirms a transfer that is done: it can no longer be undone. Releases a received message with its parts. */
void owngil_transfer_confirm(owngil_transfer *self);

/* Returns true if nothing was done so far: then nothing will be. Locks the queue. */
bool owngil_transfer_withdraw(owngil_transfer *self);

/* Undoes the transfer, unless it is decided. Returns whether it is now as if it had never been: false if a receiver
 * already has the message that was sent. Locks the queue. */
bool owngil_transfer_undo(owngil_transfer *self);
