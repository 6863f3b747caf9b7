#include "messaging/queue.h"

#include "base/ids.h"

#include <stdlib.h>

/* Without a lock, as freeing may take long. */
static void
free_all(owngil_message *list)
{
    while (list != NULL) {
        owngil_message *next = list->next;
        owngil_refcount_release(&list->base);
        list = next;
    }
}

static void
queue_free(owngil_refcounted *base)
{
    owngil_queue *self = (owngil_queue *)base;
    free_all(self->head);
    free_all(self->addressed);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

owngil_queue *
owngil_queue_new(size_t maxsize, bool last_first)
{
    owngil_queue *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_refcount_init(&self->base, OWNGIL_KIND_QUEUE, queue_free);
    pthread_mutex_init(&self->lock, NULL);
    self->maxsize = maxsize;
    self->last_first = last_first;
    self->number = owngil_ids_next();
    return self;
}

/* Returns false, and locks nothing, if the queue was made before this process was forked. */
static bool
lock_queue(owngil_queue *self)
{
    if (owngil_refcount_is_inherited(&self->base)) {
        return false;
    }
    pthread_mutex_lock(&self->lock);
    return true;
}

/* The lock is held in all of these. */

/* Takes over the reference to `message`. `before` and `after` are neighbours, NULL at the ends. */
static void
link_between(owngil_queue *self, owngil_message *before, owngil_message *message, owngil_message *after)
{
    *(before != NULL ? &before->next : &self->head) = message;
    message->next = after;
    self->tail = after == NULL ? message : self->tail;
    self->length++;
}

static void
append(owngil_queue *self, owngil_message *message)
{
    message->place = ++self->places;
    link_between(self, self->tail, message, NULL);
}

static owngil_message *
pop(owngil_queue *self)
{
    owngil_message *message = self->head;
    if (message != NULL) {
        self->head = message->next;
        if (self->head == NULL) {
            self->tail = NULL;
        }
        message->next = NULL;
        self->length--;
    }
    return message;
}

/* If there is room again (more messages than that may have been put back), the sender that waits longest delivers. */
static void
admit_sender(owngil_queue *self)
{
    owngil_waiter *sender = self->length < self->maxsize ? owngil_waiters_pop(&self->senders) : NULL;
    if (sender != NULL) {
        owngil_message *message = sender->item;
        owngil_refcount_acquire(&message->base);
        append(self, message);
        owngil_waiter_serve(sender, OWNGIL_OK);
    }
}

/* A receiver is waiting: gives the one whose turn it is the message, and a reference to it. */
static void
hand_over(owngil_queue *self, owngil_message *message)
{
    owngil_waiter *receiver = self->last_first ? self->receivers.tail : self->receivers.head;
    owngil_waiters_remove(&self->receivers, receiver);
    receiver->item = message;
    owngil_waiter_serve(receiver, OWNGIL_OK);
}

/* Puts the message if that needs no waiting. False if it does. */
static bool
put_now(owngil_queue *self, owngil_message *message, owngil_status *code)
{
    *code = OWNGIL_OK;
    if (self->closed) {
        *code = OWNGIL_CLOSED;
    }
    else if (self->receivers.length > 0) {
        if (owngil_message_take(message)) { /* else it was cancelled before it was sent */
            message->place = ++self->places;
            owngil_refcount_acquire(&message->base);
            hand_over(self, message);
        }
    }
    else if (self->maxsize == 0 || self->length < self->maxsize) {
        owngil_refcount_acquire(&message->base);
        append(self, message);
    }
    else {
        return false;
    }
    return true;
}

/* Gets the first message if there is one, and a reference to it; true with CLOSED if there will be none, false if one may
 * come. The cancelled ones before it are put into a list for free_all(), as freeing may take long. */
static bool
get_now(owngil_queue *self, owngil_message **result, owngil_message **cancelled, owngil_status *code)
{
    owngil_message *message;
    while ((message = pop(self)) != NULL) {
        admit_sender(self);
        if (owngil_message_take(message)) {
            *result = message;
            *code = OWNGIL_OK;
            return true;
        }
        message->next = *cancelled;
        *cancelled = message;
    }
    *code = OWNGIL_CLOSED;
    return self->closed;
}

/* Gets the first message for this receiver, and a reference to it; as get_now(). */
static bool
get_addressed(owngil_queue *self, uint64_t receiver, owngil_message **result, owngil_message **cancelled)
{
    owngil_message **at = &self->addressed;
    while (*at != NULL) {
        owngil_message *message = *at;
        if (message->receiver != receiver) {
            at = &message->next;
            continue;
        }
        *at = message->next;
        message->next = NULL;
        if (owngil_message_take(message)) {
            *result = message;
            return true;
        }
        message->next = *cancelled;
        *cancelled = message;
    }
    return false;
}

/* Gives the message to its receiver, or lets it wait for that one. Takes over the reference. */
static void
deliver(owngil_queue *self, owngil_message *message)
{
    owngil_waiter *receiver = self->receivers.head;
    while (receiver != NULL && receiver->receiver != message->receiver) {
        receiver = receiver->next;
    }
    if (receiver != NULL && owngil_message_take(message)) { /* cancelled ones go when somebody passes over them */
        owngil_waiters_remove(&self->receivers, receiver);
        receiver->item = message;
        owngil_waiter_serve(receiver, OWNGIL_OK);
        return;
    }
    owngil_message **at = &self->addressed;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    message->next = NULL;
    *at = message;
}

/* From here on the lock is not held. */

owngil_status
owngil_queue_put(owngil_queue *self, owngil_message *message, owngil_deadline deadline)
{
    owngil_status code;
    if (!lock_queue(self)) {
        return OWNGIL_INHERITED;
    }
    bool done = put_now(self, message, &code);
    if (!done && deadline != OWNGIL_DEADLINE_NOW) {
        owngil_waiter waiter;
        owngil_waiter_init(&waiter, message);
        return owngil_parking_wait_in_line(&self->senders, &waiter, &self->lock, deadline);
    }
    pthread_mutex_unlock(&self->lock);
    return done ? code : OWNGIL_TIMEOUT;
}

owngil_status
owngil_queue_put_for(owngil_queue *self, uint64_t receiver, owngil_message *message)
{
    if (!lock_queue(self)) {
        return OWNGIL_INHERITED;
    }
    owngil_status code = self->closed ? OWNGIL_CLOSED : OWNGIL_OK;
    if (code == OWNGIL_OK) {
        message->receiver = receiver;
        owngil_refcount_acquire(&message->base);
        deliver(self, message);
    }
    pthread_mutex_unlock(&self->lock);
    return code;
}

void
owngil_queue_readdress(owngil_queue *self, uint64_t from, uint64_t to)
{
    if (!lock_queue(self)) {
        return;
    }
    owngil_message *list = self->addressed;
    self->addressed = NULL;
    while (list != NULL) {
        owngil_message *message = list;
        list = message->next;
        message->receiver = message->receiver == from ? to : message->receiver;
        deliver(self, message);
    }
    pthread_mutex_unlock(&self->lock);
}

owngil_status
owngil_queue_get(owngil_queue *self, uint64_t receiver, owngil_message **result, owngil_deadline deadline)
{
    if (owngil_refcount_is_inherited(&self->base)) {
        *result = NULL;
        return OWNGIL_INHERITED;
    }
    owngil_status code = OWNGIL_OK;
    owngil_message *cancelled = NULL;

    *result = NULL;
    pthread_mutex_lock(&self->lock);
    bool done = (self->addressed != NULL && get_addressed(self, receiver, result, &cancelled))
                || get_now(self, result, &cancelled, &code);
    if (done || deadline == OWNGIL_DEADLINE_NOW) {
        code = done ? code : OWNGIL_TIMEOUT;
        pthread_mutex_unlock(&self->lock);
    }
    else {
        owngil_waiter waiter;
        owngil_waiter_init(&waiter, NULL);
        waiter.receiver = receiver;
        code = owngil_parking_wait_in_line(&self->receivers, &waiter, &self->lock, deadline);
        *result = waiter.item;
    }
    free_all(cancelled);
    return code;
}

void
owngil_queue_begin_put(owngil_queue *self, owngil_waiter *waiter)
{
    if (!lock_queue(self)) {
        waiter->done = true;
        waiter->code = OWNGIL_INHERITED;
        return;
    }
    waiter->done = put_now(self, waiter->item, &waiter->code);
    if (!waiter->done) {
        owngil_waiters_add(&self->senders, waiter);
    }
    pthread_mutex_unlock(&self->lock);
}

void
owngil_queue_begin_get(owngil_queue *self, owngil_waiter *waiter)
{
    owngil_message *message = NULL, *cancelled = NULL;
    if (!lock_queue(self)) {
        waiter->done = true;
        waiter->code = OWNGIL_INHERITED;
        return;
    }
    waiter->done = get_now(self, &message, &cancelled, &waiter->code);
    waiter->item = message;
    if (!waiter->done) {
        owngil_waiters_add(&self->receivers, waiter);
    }
    pthread_mutex_unlock(&self->lock);
    free_all(cancelled);
}

bool
owngil_queue_is_served(owngil_queue *self, owngil_waiter *waiter, owngil_status *code)
{
    if (!lock_queue(self)) {
        *code = OWNGIL_INHERITED;
        return true;
    }
    bool done = waiter->done;
    *code = waiter->code;
    pthread_mutex_unlock(&self->lock);
    return done;
}

bool
owngil_queue_withdraw(owngil_queue *self, owngil_waiter *waiter, bool sends)
{
    if (!lock_queue(self)) {
        waiter->done = true;
        waiter->code = OWNGIL_INHERITED;
        return true;
    }
    bool waits = !waiter->done;
    if (waits) {
        owngil_waiters_remove(sends ? &self->senders : &self->receivers, waiter);
        waiter->done = true;
        waiter->code = OWNGIL_TIMEOUT;
    }
    pthread_mutex_unlock(&self->lock);
    return waits;
}

void
owngil_queue_put_back(owngil_queue *self, owngil_message *message)
{
    if (!lock_queue(self)) {
        owngil_refcount_release(&message->base);
        return;
    }
    if (message->receiver != 0) {
        owngil_message_untake(message);
        message->next = self->addressed;
        self->addressed = message;
    }
    else if (self->receivers.length > 0) { /* then the queue is empty */
        hand_over(self, message);
    }
    else {
        owngil_message_untake(message);
        owngil_message *before = NULL, *after = self->head;
        while (after != NULL && after->place < message->place) {
            before = after;
            after = after->next;
        }
        link_between(self, before, message, after);
    }
    pthread_mutex_unlock(&self->lock);
}

bool
owngil_queue_take_back(owngil_queue *self, owngil_message *message)
{
    if (owngil_refcount_is_inherited(&self->base)) {
        return true;
    }
    if (!owngil_message_cancel(message)) { /* not under the lock: this lets go of its parts */
        return false;
    }
    pthread_mutex_lock(&self->lock);
    owngil_message *before = NULL, *at = self->head;
    while (at != NULL && at != message) {
        before = at;
        at = at->next;
    }
    if (at != NULL) { /* else a receiver has passed over it */
        *(before != NULL ? &before->next : &self->head) = at->next;
        self->tail = self->tail == at ? before : self->tail;
        self->length--;
        admit_sender(self);
    }
    pthread_mutex_unlock(&self->lock);
    if (at != NULL) {
        owngil_refcount_release(&at->base);
    }
    return true;
}

owngil_status
owngil_queue_answer(owngil_queue *self, owngil_message *task, owngil_message *answer)
{
    owngil_status code = OWNGIL_OK;
    if (!lock_queue(self)) {
        return OWNGIL_INHERITED;
    }
    if (task->waiter != NULL && self->receivers.length > 0) {
        owngil_refcount_acquire(&answer->base);
        task->waiter->item = answer;
        owngil_waiter_serve(task->waiter, OWNGIL_OK);
        task->waiter = NULL;
    }
    else {
        (void)put_now(self, answer, &code); /* which an unbounded queue always can */
    }
    task->answered = code == OWNGIL_OK;
    pthread_mutex_unlock(&self->lock);
    return code;
}

owngil_status
owngil_queue_await(owngil_queue *self, owngil_message *task, owngil_message **answer, owngil_deadline deadline,
                   bool spins)
{
    *answer = NULL;
    if (owngil_refcount_is_inherited(&self->base)) {
        return OWNGIL_OK;
    }
    owngil_status code = OWNGIL_OK;
    owngil_waiter waiter;
    owngil_waiter_init(&waiter, NULL);
    pthread_mutex_lock(&self->lock);
    bool waits = !task->abandoned && task->waiter == NULL;
    if (waits) {
        task->waiter = &waiter;
    }
    pthread_mutex_unlock(&self->lock);
    if (waits) {
        owngil_spin spin = spins ? owngil_waiter_spin(&waiter) : OWNGIL_SPIN_SKIPPED;
        code = spin == OWNGIL_SPIN_SKIPPED  ? owngil_parking_block(&waiter, deadline)
               : spin == OWNGIL_SPIN_SERVED ? OWNGIL_OK
                                            : OWNGIL_INTERRUPTED;
        if (code != OWNGIL_OK) {
            pthread_mutex_lock(&self->lock);
            if (!waiter.done) {
                task->waiter = NULL;
            }
            pthread_mutex_unlock(&self->lock);
        }
        code = waiter.done ? waiter.code : code;
    }
    *answer = waiter.item;
    owngil_waiter_clear(&waiter);
    return code;
}

void
owngil_queue_stop_waiting(owngil_queue *self, owngil_message *task)
{
    if (!lock_queue(self)) {
        return;
    }
    task->abandoned = true;
    if (task->waiter != NULL) {
        owngil_waiter_serve(task->waiter, OWNGIL_OK);
        task->waiter = NULL;
    }
    pthread_mutex_unlock(&self->lock);
}

bool
owngil_queue_has_answered(owngil_queue *self, const owngil_message *task)
{
    if (!lock_queue(self)) {
        return false;
    }
    bool answered = task->answered;
    pthread_mutex_unlock(&self->lock);
    return answered;
}

void
owngil_queue_close(owngil_queue *self)
{
    if (!lock_queue(self)) {
        return;
    }
    self->closed = true;
    owngil_waiters_serve_all(&self->receivers, OWNGIL_CLOSED);
    owngil_waiters_serve_all(&self->senders, OWNGIL_CLOSED);
    pthread_mutex_unlock(&self->lock);
}

bool
owngil_queue_is_closed(owngil_queue *self)
{
    if (!lock_queue(self)) {
        return true;
    }
    bool closed = self->closed;
    pthread_mutex_unlock(&self->lock);
    return closed;
}

size_t
owngil_queue_length(owngil_queue *self)
{
    if (!lock_queue(self)) {
        return 0;
    }
    size_t length = self->length;
    pthread_mutex_unlock(&self->lock);
    return length;
}
