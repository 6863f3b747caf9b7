#include "messaging/wakeup.h"

#include "platform/notify.h"

#include <stdlib.h>
#include <unistd.h>

static owngil_wakeup_entry closed; /* the mark; its fields are never used */

static void
wakeup_free(owngil_refcounted *base)
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
    owngil_refcount_init(&self->base, OWNGIL_KIND_WAKEUP, wakeup_free);
    atomic_init(&self->list, NULL);
    self->fd = owngil_notify_open();
    if (self->fd < 0) {
        free(self);
        return NULL;
    }
    return self;
}

void
owngil_wakeup_wake_loop(owngil_refcounted *self)
{
    owngil_notify_ring(((owngil_wakeup *)self)->fd);
}

void
owngil_wakeup_push(owngil_wakeup *self, owngil_wakeup_entry *entry)
{
    owngil_wakeup_entry *first = atomic_load(&self->list);
    owngil_refcount_acquire(entry->object);
    do {
        if (first == &closed) {
            owngil_refcount_release(entry->object); /* not the last reference: the caller keeps one */
            return;
        }
        entry->next = first;
    } while (!atomic_compare_exchange_weak(&self->list, &first, entry));
    if (first == NULL) {
        owngil_notify_ring(self->fd);
    }
}

owngil_wakeup_entry *
owngil_wakeup_take(owngil_wakeup *self)
{
    /* In this order: a thread that pushes after the list was taken rings after this. */
    owngil_notify_silence(self->fd);
    owngil_wakeup_entry *newest = atomic_load(&self->list);
    while (newest != &closed && !atomic_compare_exchange_weak(&self->list, &newest, NULL)) {
    }
    owngil_wakeup_entry *oldest = NULL;
    while (newest != NULL && newest != &closed) {
        owngil_wakeup_entry *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

void
owngil_wakeup_close(owngil_wakeup *self)
{
    owngil_wakeup_entry *at = atomic_exchange(&self->list, &closed);
    while (at != NULL && at != &closed) {
        owngil_wakeup_entry *next = at->next;
        owngil_refcount_release(at->object);
        at = next;
    }
}
