/* A message's way into or out of a queue, for those who do not sleep meanwhile, or may have to undo it.
 *
 * It is done at once or waits in the queue's own lists, in line with the threads that sleep there; a wakeup then says
 * when it is done. Until its owner confirms it, it can be undone: a message that was received goes back to its place in
 * the queue, or to the next receiver, and one that was sent is taken back if no receiver has it. So whatever happens to a
 * receiver between being served and having the object (an interrupt, a cancelled coroutine), no message is lost.
 *
 * Its owner is the interpreter that made it; all functions are for threads with that one's GIL. The owner confirms,
 * withdraws or undoes it before giving its reference back.
 */
#pragma once

#include "messaging/queue.h"
#include "messaging/wakeup.h"

typedef struct {
    owngil_refcounted base;
    owngil_waiter waiter;      /* in the queue until `done`; guarded by the queue */
    owngil_wakeup
        *wakeup; /* of the loop that waits for this, owned; NULL: no loop waits (any more); guarded by the queue */
    owngil_wakeup_entry entry; /* in the wakeup's list once this is done */
    owngil_queue *queue;
    owngil_message *message; /* that is sent; NULL: this transfer receives */
    bool decided; /* confirmed, withdrawn or undone */
} owngil_transfer;

/* Each returns a new transfer with one reference, or NULL without memory. None needs a GIL; all but the first lock the
 * queue.
 *
 * `received`: of a message that was taken from the queue, whose reference it takes over, even when it fails. */
owngil_transfer *owngil_transfer_received(owngil_queue *queue, owngil_message *message);

/* Receives; waits in the queue if there is nothing. */
owngil_transfer *owngil_transfer_receive(owngil_queue *queue, owngil_wakeup *wakeup, uint64_t key);

/* Sends; waits in the queue if there is no room. Takes a reference of its own to the message. */
owngil_transfer *owngil_transfer_send(owngil_queue *queue, owngil_message *message, owngil_wakeup *wakeup,
                                      uint64_t key);

/* Whether it is done, and then what became of it. Locks the queue. */
bool owngil_transfer_is_done(owngil_transfer *self, owngil_status *code);

/* The message that was received, or NULL (borrowed); for one that is done and not decided. */
owngil_message *owngil_transfer_message(owngil_transfer *self);

/* The end of one that is done: it can no longer be undone. Lets go of a received message's parts. */
void owngil_transfer_confirm(owngil_transfer *self);

/* True if nothing had been done yet, and nothing will be. Locks the queue. */
bool owngil_transfer_withdraw(owngil_transfer *self);

/* Undoes it, unless it is decided. True if it is as if it had never been: false when a message that was sent is with its
 * receiver already. Locks the queue. */
bool owngil_transfer_undo(owngil_transfer *self);
