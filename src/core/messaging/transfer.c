#include "messaging/transfer.h"

#include <assert.h>
#include <stdlib.h>

static void
transfer_free(owngil_shared *base)
{
    owngil_transfer *self = (owngil_transfer *)base;
    assert(self->settled);
    if (self->message != NULL) {
        owngil_shared_release(&self->message->base);
    }
    owngil_shared_release(&self->queue->base);
    owngil_waiter_clear(&self->waiter);
    free(self);
}

static owngil_transfer *
transfer_new(owngil_queue *queue, owngil_message *message, owngil_wakeup *wakeup, uint64_t key)
{
    owngil_transfer *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_shared_init(&self->base, OWNGIL_KIND_TRANSFER, transfer_free);
    owngil_waiter_init(&self->waiter, message);
    self->queue = queue;
    owngil_shared_acquire(&queue->base);
    if (message != NULL) {
        self->message = message;
        owngil_shared_acquire(&message->base);
    }
    if (wakeup != NULL) {
        self->waiter.wakeup = wakeup;
        owngil_shared_acquire(&wakeup->base);
    }
    self->key = key;
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
owngil_transfer_is_done(owngil_transfer *self, owngil_code *code)
{
    return owngil_queue_is_served(self->queue, &self->waiter, code);
}

owngil_message *
owngil_transfer_message(owngil_transfer *self)
{
    return self->message == NULL ? self->waiter.item : NULL;
}

/* From here on nobody serves the waiter, so that it needs no wakeup: a coroutine that is never resumed must not keep the
 * eventfd of a loop that is gone. */
static void
settle(owngil_transfer *self)
{
    self->settled = true;
    owngil_wakeup *wakeup = self->waiter.wakeup;
    self->waiter.wakeup = NULL;
    if (wakeup != NULL) {
        owngil_shared_release(&wakeup->base);
    }
}

void
owngil_transfer_confirm(owngil_transfer *self)
{
    if (self->settled) {
        return;
    }
    settle(self);
    owngil_message *message = owngil_transfer_message(self);
    if (message != NULL) {
        self->waiter.item = NULL;
        owngil_message_clear(message);
        owngil_shared_release(&message->base);
    }
}

bool
owngil_transfer_withdraw(owngil_transfer *self)
{
    if (self->settled || !owngil_queue_withdraw(self->queue, &self->waiter, self->message != NULL)) {
        return false;
    }
    settle(self);
    return true;
}

bool
owngil_transfer_undo(owngil_transfer *self)
{
    if (self->settled) {
        return false;
    }
    if (owngil_transfer_withdraw(self)) {
        return true;
    }
    settle(self);
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
