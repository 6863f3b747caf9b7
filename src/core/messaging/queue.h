/* A process-wide queue of messages: many senders, many receivers, any interpreter.
 *
 * First in, first out; waiting receivers are served in the order they came, and so are waiting senders. A closed
 * queue takes no more messages and hands out those it has. Nothing here needs a GIL or touches a Python object; every function
 * locks the queue.
 */
#pragma once

#include "messaging/message.h"
#include "sync/parking.h"
#include <pthread.h>

typedef struct {
    owngil_refcounted base;
    pthread_mutex_t lock;    /* guards everything below; a leaf: nothing else is locked while it is held */
    owngil_message *head, *tail;
    size_t length;
    owngil_message *addressed; /* those for one receiver only, first in first out; `length` does not count them */
    size_t maxsize;          /* 0: unbounded */
    uint64_t places;         /* messages that came so far */
    bool closed;
    bool last_first;         /* constant */
    uint64_t number;         /* constant: another for each queue */
    _Atomic int64_t spent;   /* nanoseconds: see Queue.spend(); not guarded */
    owngil_waiters receivers;/* each waits for `item` to be filled with a message */
    owngil_waiters senders;  /* each waits for its `item` to be taken into the queue */
} owngil_queue;

/* Returns a new queue with one reference, or NULL without memory. With `last_first`, of the waiting receivers the one that came
 * last is served first: for workers, of which that one has its caches warm, and may not be asleep yet. */
owngil_queue *owngil_queue_new(size_t maxsize, bool last_first);

/* Appends `message` and takes a reference of its own. OK, CLOSED, TIMEOUT or INTERRUPTED; in all but the first the
 * message is not, and never was, in the queue. With owngil_deadline_now it does not wait, so that it may be called with a
 * GIL held; likewise the next one. */
owngil_status owngil_queue_put(owngil_queue *self, owngil_message *message, owngil_deadline deadline);

/* Messages for one receiver.
 *
 * A receiver may have a number, not 0. What is put for that number waits for it alone, and it gets that first.
 */

/* Takes the first message for the receiver of that number (0: it has none) that was not cancelled, or else the first for
 * any receiver. The caller owns the reference. Returns OK, CLOSED (and empty), TIMEOUT or INTERRUPTED. */
owngil_status owngil_queue_get(owngil_queue *self, uint64_t receiver, owngil_message **result,
                               owngil_deadline deadline);

/* Puts the message for one receiver, however many are in the queue. OK or CLOSED. */
owngil_status owngil_queue_put_for(owngil_queue *self, uint64_t receiver, owngil_message *message);

/* Lets `to` have what waits for `from`, which is gone; even in a queue that is closed. */
void owngil_queue_readdress(owngil_queue *self, uint64_t from, uint64_t to);

/* Answers.
 *
 * The answer to a task (a message that went through another queue) goes into this queue like anything else; but it is
 * handed to the thread that waits for just this answer if there is one, and nothing came before it that is not dealt
 * with yet: that is so while a receiver waits. One wake-up is saved, and the receiver's work.
 */

/* Puts the answer to `task`, or hands it over. OK or CLOSED. */
owngil_status owngil_queue_answer(owngil_queue *self, owngil_message *task, owngil_message *answer);

/* Waits for the answer to `task`. OK with *answer, and the caller owns the reference; OK with NULL when another thread
 * waits for it already or owngil_queue_stop_waiting() was called; TIMEOUT or INTERRUPTED. With `spins`, it may spin for a while
 * instead of blocking, and is INTERRUPTED if that was in vain. */
owngil_status owngil_queue_await(owngil_queue *self, owngil_message *task, owngil_message **answer,
                                 owngil_deadline deadline, bool spins);

/* Ends the wait for the answer to `task`, of which there will be none here. */
void owngil_queue_stop_waiting(owngil_queue *self, owngil_message *task);

bool owngil_queue_has_answered(owngil_queue *self, const owngil_message *task);
/* For those who do not sleep: does at once what can be done, or appends the waiter, which is served in its turn. `item` is
 * the message to be put (which gets a reference of the queue's own), or becomes the one that was got (the waiter's). */
void owngil_queue_begin_put(owngil_queue *self, owngil_waiter *waiter);
void owngil_queue_begin_get(owngil_queue *self, owngil_waiter *waiter);

/* Whether the waiter is served, and then with what. */
bool owngil_queue_is_served(owngil_queue *self, owngil_waiter *waiter, owngil_status *code);

/* Takes the waiter out, and returns true; or false if it is served. */
bool owngil_queue_withdraw(owngil_queue *self, owngil_waiter *waiter, bool sends);

/* Gives back a message that was got, parts and all, and the reference to it: it is the next receiver's, or takes its
 * former place, even in a queue that is full or closed. */
void owngil_queue_put_back(owngil_queue *self, owngil_message *message);

/* Cancels a message that was put, and makes room; false if a receiver has it. */
bool owngil_queue_take_back(owngil_queue *self, owngil_message *message);

/* Wakes every waiter with CLOSED. May be called again. */
void owngil_queue_close(owngil_queue *self);

bool owngil_queue_is_closed(owngil_queue *self);

/* Messages that are in the queue now, cancelled ones included. */
size_t owngil_queue_length(owngil_queue *self);
