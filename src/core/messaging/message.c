#include "messaging/message.h"

#include "memory/block.h"

#include <stdlib.h>

enum { WAITING, TAKEN, CANCELLED };

void
owngil_message_clear(owngil_message *self)
{
    size_t count = self->count;
    self->count = 0;
    for (size_t k = 0; k < count; k++) {
        owngil_refcount_release(self->parts[k]);
    }
}

int64_t
owngil_message_bytes(const owngil_message *self)
{
    int64_t bytes = 0;
    for (size_t k = 0; k < self->count; k++) {
        if (self->parts[k]->kind == OWNGIL_KIND_BLOCK) {
            bytes += (int64_t)((const owngil_block *)self->parts[k])->size;
        }
    }
    return bytes;
}

static void
message_free(owngil_refcounted *base)
{
    owngil_message_clear((owngil_message *)base);
    free(base);
}

owngil_message *
owngil_message_new(int kind, uint64_t id, size_t count)
{
    owngil_message *self = calloc(1, sizeof(*self) + count * sizeof(self->parts[0]));
    if (self == NULL) {
        return NULL;
    }
    owngil_refcount_init(&self->base, OWNGIL_KIND_MESSAGE, message_free);
    atomic_init(&self->state, WAITING);
    atomic_init(&self->unwanted, false);
    self->kind = kind;
    self->id = id;
    self->count = count;
    return self;
}

bool
owngil_message_take(owngil_message *self)
{
    int expected = WAITING;
    return atomic_compare_exchange_strong(&self->state, &expected, TAKEN);
}

bool
owngil_message_cancel(owngil_message *self)
{
    int expected = WAITING;
    if (!atomic_compare_exchange_strong(&self->state, &expected, CANCELLED)) {
        return false;
    }
    owngil_message_clear(self);
    return true;
}

bool
owngil_message_is_taken(owngil_message *self)
{
    return atomic_load(&self->state) == TAKEN;
}

bool
owngil_message_is_cancelled(owngil_message *self)
{
    return atomic_load(&self->state) == CANCELLED;
}

void
owngil_message_untake(owngil_message *self)
{
    atomic_store(&self->state, WAITING);
}
