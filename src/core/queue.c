#include "queue.h"

#include <stdlib.h>

static void
queue_free(owngil_shared *base)
{
    owngil_queue *self = (owngil_queue *)base;
    while (self->head != NULL) {
        owngil_message *message = self->head;
        self->head = message->next;
        owngil_shared_release(&message->base);
    }
    pthread_mutex_destroy(&self->lock);
    free(self);
}

owngil_queue *
owngil_queue_new(size_t maxsize)
{
    owngil_queue *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_shared_init(&self->base, OWNGIL_KIND_QUEUE, queue_free);
    pthread_mutex_init(&self->lock, NULL);
    self->maxsize = maxsize;
    return self;
}

/* The lock is held in all of these. */

static void
append(owngil_queue *self, owngil_message *message)
{
    message->next = NULL;
    if (self->tail != NULL) {
        self->tail->next = message;
    }
    else {
        self->head = message;
    }
    self->tail = message;
    self->length++;
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

static void
serve(owngil_waiter *waiter, owngil_code code)
{
    waiter->code = code;
    waiter->done = true;
    owngil_waiter_wake(waiter);
}

/* Waits in the list. Unlocks. Returns the word of whoever served the waiter, or else why it woke up unserved. */
static owngil_code
wait_in(owngil_queue *self, owngil_waiters *list, owngil_waiter *waiter, const owngil_deadline *deadline)
{
    owngil_waiters_append(list, waiter);
    pthread_mutex_unlock(&self->lock);
    owngil_code code = owngil_waiter_sleep(waiter, deadline);
    if (code != OWNGIL_OK) {
        pthread_mutex_lock(&self->lock);
        if (!waiter->done) {
            owngil_waiters_remove(list, waiter);
        }
        pthread_mutex_unlock(&self->lock);
    }
    owngil_waiter_clear(waiter);
    return waiter->done ? waiter->code : code;
}

/* There is room again: the sender that waits longest delivers. */
static void
admit_sender(owngil_queue *self)
{
    owngil_waiter *sender = owngil_waiters_pop(&self->senders);
    if (sender != NULL) {
        owngil_message *message = sender->item;
        owngil_shared_acquire(&message->base);
        append(self, message);
        serve(sender, OWNGIL_OK);
    }
}

/* Puts or hands over the message if that takes no waiting; else TIMEOUT. */
static owngil_code
offer(owngil_queue *self, owngil_message *message)
{
    if (self->closed) {
        return OWNGIL_CLOSED;
    }
    if (self->receivers.length > 0) {
        if (owngil_message_take(message)) { /* else it was cancelled before it was sent */
            owngil_waiter *receiver = owngil_waiters_pop(&self->receivers);
            owngil_shared_acquire(&message->base);
            receiver->item = message;
            serve(receiver, OWNGIL_OK);
        }
        return OWNGIL_OK;
    }
    if (self->maxsize == 0 || self->length < self->maxsize) {
        owngil_shared_acquire(&message->base);
        append(self, message);
        return OWNGIL_OK;
    }
    return OWNGIL_TIMEOUT;
}

owngil_code
owngil_queue_put(owngil_queue *self, owngil_message *message, const owngil_deadline *deadline)
{
    pthread_mutex_lock(&self->lock);
    owngil_code code = offer(self, message);
    if (code == OWNGIL_TIMEOUT && !owngil_deadline_is_now(deadline)) {
        owngil_waiter waiter;
        owngil_waiter_init(&waiter, message);
        return wait_in(self, &self->senders, &waiter, deadline);
    }
    pthread_mutex_unlock(&self->lock);
    return code;
}

owngil_code
owngil_queue_get(owngil_queue *self, owngil_message **result, const owngil_deadline *deadline)
{
    owngil_code code;
    owngil_message *message;
    owngil_message *cancelled = NULL; /* released after unlocking: that may free much */

    pthread_mutex_lock(&self->lock);
    while ((message = pop(self)) != NULL) {
        admit_sender(self);
        if (owngil_message_take(message)) {
            break;
        }
        message->next = cancelled;
        cancelled = message;
    }
    if (message != NULL || self->closed || owngil_deadline_is_now(deadline)) {
        code = message != NULL ? OWNGIL_OK : self->closed ? OWNGIL_CLOSED : OWNGIL_TIMEOUT;
        pthread_mutex_unlock(&self->lock);
    }
    else {
        owngil_waiter waiter;
        owngil_waiter_init(&waiter, NULL);
        code = wait_in(self, &self->receivers, &waiter, deadline);
        message = waiter.item;
    }

    while (cancelled != NULL) {
        owngil_message *next = cancelled->next;
        owngil_shared_release(&cancelled->base);
        cancelled = next;
    }
    *result = message;
    return code;
}

owngil_code
owngil_queue_answer(owngil_queue *self, owngil_message *task, owngil_message *answer)
{
    owngil_code code = OWNGIL_OK;
    pthread_mutex_lock(&self->lock);
    if (task->waiter != NULL && self->receivers.length > 0) {
        owngil_shared_acquire(&answer->base);
        task->waiter->item = answer;
        serve(task->waiter, OWNGIL_OK);
        task->waiter = NULL;
    }
    else {
        code = offer(self, answer);
    }
    task->answered = code == OWNGIL_OK;
    pthread_mutex_unlock(&self->lock);
    return code;
}

owngil_code
owngil_queue_await(owngil_queue *self, owngil_message *task, owngil_message **answer, const owngil_deadline *deadline)
{
    owngil_code code = OWNGIL_OK;
    owngil_waiter waiter;
    owngil_waiter_init(&waiter, NULL);
    pthread_mutex_lock(&self->lock);
    bool waits = !task->settled && task->waiter == NULL;
    if (waits) {
        task->waiter = &waiter;
    }
    pthread_mutex_unlock(&self->lock);
    if (waits) {
        code = owngil_waiter_sleep(&waiter, deadline);
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
owngil_queue_settle(owngil_queue *self, owngil_message *task)
{
    pthread_mutex_lock(&self->lock);
    task->settled = true;
    if (task->waiter != NULL) {
        serve(task->waiter, OWNGIL_OK);
        task->waiter = NULL;
    }
    pthread_mutex_unlock(&self->lock);
}

bool
owngil_queue_has_answered(owngil_queue *self, const owngil_message *task)
{
    pthread_mutex_lock(&self->lock);
    bool answered = task->answered;
    pthread_mutex_unlock(&self->lock);
    return answered;
}

void
owngil_queue_close(owngil_queue *self)
{
    owngil_waiter *waiter;
    pthread_mutex_lock(&self->lock);
    self->closed = true;
    while ((waiter = owngil_waiters_pop(&self->receivers)) != NULL) {
        serve(waiter, OWNGIL_CLOSED);
    }
    while ((waiter = owngil_waiters_pop(&self->senders)) != NULL) {
        serve(waiter, OWNGIL_CLOSED);
    }
    pthread_mutex_unlock(&self->lock);
}

bool
owngil_queue_is_closed(owngil_queue *self)
{
    pthread_mutex_lock(&self->lock);
    bool closed = self->closed;
    pthread_mutex_unlock(&self->lock);
    return closed;
}

size_t
owngil_queue_length(owngil_queue *self)
{
    pthread_mutex_lock(&self->lock);
    size_t length = self->length;
    pthread_mutex_unlock(&self->lock);
    return length;
}
