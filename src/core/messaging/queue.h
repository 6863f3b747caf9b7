/* A queue of messages that belongs to the process: many senders, many receivers, in any interpreter.
 *
 * Messages leave in the order they came. Waiting receivers are served in the order they came, and so are waiting
 * senders. A closed queue takes no more messages, and hands out those it has. No function needs a GIL or touches a
 * Python object; every one locks the queue. A queue made before this process was forked refuses to be used: functions
 * that return a status return INHERITED, unless they say otherwise.
 */
#pragma once

#include "messaging/message.h"
#include "sync/parking.h"
#include <pthread.h>

typedef struct {
    owngil_refcounted base;
    pthread_mutex_t lock;      /* guards everything below but `spent`; a leaf */
    owngil_message *head, *tail;
    size_t length;
    owngil_message *addressed; /* messages for one receiver only, first in first out; `length` does not count them */
    size_t maxsize;            /* 0: unbounded */
    uint64_t places;           /* messages that came so far */
    bool closed;
    bool last_first;           /* constant */
    uint64_t number;           /* constant: another for each queue */
    _Atomic int64_t spent;     /* nanoseconds: see Queue.spend() */
    owngil_waiters receivers;  /* each waits for `item` to be filled with a message */
    owngil_waiters senders;    /* each waits for its `item` to be taken into the queue */
} owngil_queue;

/* Returns a new queue with one reference, or NULL without memory. With `last_first`, the waiting receiver that came
 * last is served first. Queues of tasks do this: that worker's caches are warm, and its thread may not be blocked
 * yet. */
owngil_queue *owngil_queue_new(size_t maxsize, bool last_first);

/* Appends `message` and takes a reference of its own: OK, CLOSED, TIMEOUT or INTERRUPTED. In all cases but the first
 * the message is not, and never was, in the queue. With OWNGIL_DEADLINE_NOW this does not wait, so the caller may hold
 * a GIL; so may callers of owngil_queue_get(). */
owngil_status owngil_queue_put(owngil_queue *self, owngil_message *message, owngil_deadline deadline);

/* Messages for one receiver.
 *
 * A receiver may have a number, not 0. Messages put for that number wait for this receiver, which gets them first.
 */

/* Takes the first message for the receiver of that number (0: it has none) that was not cancelled, or else the first
 * for any receiver. The caller owns the reference. Returns OK, CLOSED (and empty), TIMEOUT or INTERRUPTED. */
owngil_status owngil_queue_get(owngil_queue *self, uint64_t receiver, owngil_message **result,
                               owngil_deadline deadline);

/* Puts the message for one receiver, however many are in the queue. OK or CLOSED. */
owngil_status owngil_queue_put_for(owngil_queue *self, uint64_t receiver, owngil_message *message);

/* Gives `to` the messages that wait for `from`, which is gone; even in a closed queue. */
void owngil_queue_readdress(owngil_queue *self, uint64_t from, uint64_t to);

/* Answers.
 *
 * The answer to a task (a message that went through another queue) goes into this queue like any other message. But if
 * a thread waits for just this answer, and the receiver has dealt with all that came before (it waits, too), the answer
 * goes straight to that thread. This saves one wake-up and the receiver's work.
 */

/* Puts the answer to `task`, or hands it over. OK or CLOSED. */
owngil_status owngil_queue_answer(owngil_queue *self, owngil_message *task, owngil_message *answer);

/* Waits for the answer to `task`: OK, TIMEOUT or INTERRUPTED. After OK the caller owns a reference to *answer, which is
 * NULL if another thread waits for it already, owngil_queue_stop_waiting() was called, or the queue is inherited. With
 * `spins`, this may spin for a while instead of blocking, and returns INTERRUPTED if that was in vain. */
owngil_status owngil_queue_await(owngil_queue *self, owngil_message *task, owngil_message **answer,
                                 owngil_deadline deadline, bool spins);

/* Ends the wait for the answer to `task`: no thread gets it here. */
void owngil_queue_stop_waiting(owngil_queue *self, owngil_message *task);

bool owngil_queue_has_answered(owngil_queue *self, const owngil_message *task);

/* Put or get without blocking: at once, or later, by a waiter in line that is served in its turn. `item` is the message
 * to put (the queue takes a reference of its own), or becomes the message that was got (the waiter owns its
 * reference). */
void owngil_queue_begin_put(owngil_queue *self, owngil_waiter *waiter);
void owngil_queue_begin_get(owngil_queue *self, owngil_waiter *waiter);

/* Returns whether the waiter is served, and sets *code to the outcome. */
bool owngil_queue_is_served(owngil_queue *self, owngil_waiter *waiter, owngil_status *code);

/* Takes the waiter out of its line and returns true, or returns false if it is served. */
bool owngil_queue_withdraw(owngil_queue *self, owngil_waiter *waiter, bool sends);

/* Puts back a message that was got, with its parts, and takes over the reference: the next receiver gets it, or it
 * returns to its former place, even in a queue that is full or closed. */
void owngil_queue_put_back(owngil_queue *self, owngil_message *message);

/* Cancels a message that was put, and makes room. Returns false if a receiver has it. */
bool owngil_queue_take_back(owngil_queue *self, owngil_message *message);

/* Closes the queue and ends every wait with CLOSED. May be called again. */
void owngil_queue_close(owngil_queue *self);

bool owngil_queue_is_closed(owngil_queue *self);

/* Returns the number of messages in the queue, cancelled ones included. */
size_t owngil_queue_length(owngil_queue *self);
