#include "sync/counter.h"

#include <stdlib.h>

static void
counter_free(owngil_refcounted *base)
{
    free(base);
}

owngil_counter *
owngil_counter_new(int64_t value)
{
    owngil_counter *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_refcount_init(&self->base, OWNGIL_KIND_COUNTER, counter_free);
    atomic_init(&self->value, value);
    return self;
}

bool
owngil_counter_add(owngil_counter *self, int64_t n, int64_t *value)
{
    int64_t before = atomic_load_explicit(&self->value, memory_order_relaxed);
    do {
        if (__builtin_add_overflow(before, n, value)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&self->value, &before, *value));
    return true;
}
