#include "message.h"

#include <stdlib.h>

enum { WAITING, TAKEN, CANCELLED };

static void
message_free(owngil_shared *base)
{
    owngil_message *self = (owngil_message *)base;
    for (size_t k = 0; k < self->count; k++) {
        owngil_shared_release(self->parts[k]);
    }
    free(self);
}

owngil_message *
owngil_message_new(int kind, uint64_t id, size_t count)
{
    owngil_message *self = calloc(1, sizeof(*self) + count * sizeof(self->parts[0]));
    if (self == NULL) {
        return NULL;
    }
    owngil_shared_init(&self->base, OWNGIL_KIND_MESSAGE, message_free);
    atomic_init(&self->state, WAITING);
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
    return atomic_compare_exchange_strong(&self->state, &expected, CANCELLED);
}

bool
owngil_message_is_taken(owngil_message *self)
{
    return atomic_load(&self->state) == TAKEN;
}
