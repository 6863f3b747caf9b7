#include "messaging/transfer.h"

#include <assert.h>
#include <stdlib.h>

static void
transfer_free(owngil_refcounted *base)
{
    owngil_transfer *self = (owngil_transfer *)base;
    assert(self->decided);
    if (self->message != NULL) {
        owngil_refcount_release(&self->message->base);
    }
    owngil_refcount_release(&self->queue->base);
    owngil_waiter_clear(&self->waiter);
    free(self);
}

/* The waiter's `wake`. The queue's mutex is held, so the transfer, whose waiter was in the queue, lives. */
static void
tell_loop(owngil_waiter *waiter)
{
    owngil_transfer *self = (owngil_transfer *)((char *)waiter - offsetof(owngil_transfer, waiter));
    owngil_wakeup_push(self->wakeup, &self->entry);
}

static owngil_transfer *
transfer_new(owngil_queue *queue, owngil_message *message, owngil_wakeup *wakeup, uint64_t key)
{
    owngil_transfer *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_refcount_init(&self->base, OWNGIL_KIND_TRANSFER, transfer_free);
    owngil_waiter_init(&self->waiter, message);
    self->queue = queue;
    owngil_refcount_acquire(&queue->base);
    if (message != NULL) {
        self->message = message;
        owngil_refcount_acquire(&message->base);
    }
    if (wakeup != NULL) {
        self->waiter.wake = tell_loop;
        self->wakeup = wakeup;
        owngil_refcount_acquire(&wakeup->base);
    }
    self->entry = (owngil_wakeup_entry){.object = &self->base, .key = key};
    return self;
}

owngil_transfer *
owngil_transfer_received(owngil_queue *queue, owngil_message *message)
{
    owngil_transfer *self = transfer_new(queue, NULL, NULL, 0);
    if (self == NULL) {
        owngil_queue_put_back(queue, message);
        return NULL;
    }
    self->waiter.item = message;
    self->waiter.done = true;
    return self;
}

owngil_transfer *
owngil_transfer_receive(owngil_queue *queue, owngil_wakeup *wakeup, uint64_t key)
{
    owngil_transfer *self = transfer_new(queue, NULL, wakeup, key);
    if (self != NULL) {
        owngil_queue_begin_get(queue, &self->waiter);
    }
    return self;
}

owngil_transfer *
owngil_transfer_send(owngil_queue *queue, owngil_message *message, owngil_wakeup *wakeup, uint64_t key)
{
    owngil_transfer *self = transfer_new(queue, message, wakeup, key);
    if (self != NULL) {
        owngil_queue_begin_put(queue, &self->waiter);
    }
    return self;
}

bool
owngil_transfer_is_done(owngil_transfer *self, owngil_status *code)
{
    return owngil_queue_is_served(self->queue, &self->waiter, code);
}

owngil_message *
owngil_transfer_message(owngil_transfer *self)
{
    return self->message == NULL ? self->waiter.item : NULL;
}

/* The end of a transfer that no thread serves any more. It lets go of the wakeup: a coroutine that is never resumed must
 * not keep the descriptor of a loop that is gone. */
static void
decide(owngil_transfer *self)
{
    self->decided = true;
    owngil_wakeup *wakeup = self->wakeup;
    self->wakeup = NULL;
    if (wakeup != NULL) {
        owngil_refcount_release(&wakeup->base);
    }
}

void
owngil_transfer_confirm(owngil_transfer *self)
{
    if (self->decided) {
        return;
    }
    decide(self);
    owngil_message *message = owngil_transfer_message(self);
    if (message != NULL) {
        self->waiter.item = NULL;
        owngil_message_clear(message);
        owngil_refcount_release(&message->base);
    }
}

bool
owngil_transfer_withdraw(owngil_transfer *self)
{
    if (self->decided || !owngil_queue_withdraw(self->queue, &self->waiter, self->message != NULL)) {
        return false;
    }
    decide(self);
    return true;
}

bool
owngil_transfer_undo(owngil_transfer *self)
{
    if (self->decided) {
        return false;
    }
    if (owngil_transfer_withdraw(self)) {
        return true;
    }
    decide(self);
    if (self->waiter.code != OWNGIL_OK) {
        return true;
    }
    if (self->message != NULL) {
        return owngil_queue_take_back(self->queue, self->message);
    }
    owngil_message *message = self->waiter.item;
    self->waiter.item = NULL;
    if (message != NULL) {
        owngil_queue_put_back(self->queue, message);
    }
    return true;
}
