#include "messaging/wakeup.h"

#include "messaging/transfer.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static owngil_waiter closed; /* the mark; nothing in it is ever used */

static void
wakeup_free(owngil_shared *base)
{
    owngil_wakeup *self = (owngil_wakeup *)base;
    owngil_wakeup_close(self);
    close(self->fd);
    free(self);
}

owngil_wakeup *
owngil_wakeup_new(void)
{
    owngil_wakeup *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_shared_init(&self->base, OWNGIL_KIND_WAKEUP, wakeup_free);
    atomic_init(&self->served, NULL);
    self->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->fd < 0) {
        free(self);
        return NULL;
    }
    return self;
}

void
owngil_wakeup_nudge(owngil_wakeup *self)
{
    const uint64_t one = 1;
    /* It fails only when the counter is full, and then the loop is awake. */
    ssize_t ignored = write(self->fd, &one, sizeof(one));
    (void)ignored;
}

void
owngil_wakeup_ring(owngil_wakeup *self, owngil_waiter *waiter)
{
    owngil_transfer *transfer = owngil_transfer_of_waiter(waiter);
    owngil_waiter *first = atomic_load(&self->served);
    owngil_shared_acquire(&transfer->base);
    do {
        if (first == &closed) {
            /* Not the last reference: a waiter in a queue has one. */
            owngil_shared_release(&transfer->base);
            return;
        }
        waiter->next = first;
    } while (!atomic_compare_exchange_weak(&self->served, &first, waiter));
    if (first == NULL) {
        owngil_wakeup_nudge(self);
    }
}

owngil_waiter *
owngil_wakeup_take(owngil_wakeup *self)
{
    /* In this order: who pushes onto the list after it was taken writes after this read. */
    uint64_t count;
    ssize_t ignored = read(self->fd, &count, sizeof(count));
    (void)ignored;
    owngil_waiter *newest = atomic_load(&self->served);
    while (newest != &closed && !atomic_compare_exchange_weak(&self->served, &newest, NULL)) {
    }
    owngil_waiter *oldest = NULL;
    while (newest != NULL && newest != &closed) {
        owngil_waiter *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

void
owngil_wakeup_close(owngil_wakeup *self)
{
    owngil_waiter *at = atomic_exchange(&self->served, &closed);
    while (at != NULL && at != &closed) {
        owngil_waiter *next = at->next;
        owngil_shared_release(&owngil_transfer_of_waiter(at)->base);
        at = next;
    }
}
