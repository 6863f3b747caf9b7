#include "sync/waitable.h"

#include <stdlib.h>

enum { ADDRESS_BITS = 48 };

static const uint64_t ADDRESS = ((uint64_t)1 << ADDRESS_BITS) - 1;

static pthread_mutex_t renewing = PTHREAD_MUTEX_INITIALIZER; /* a leaf */

/* The address of the thread that forked this process; written in the child, which has no other thread. */
static uint64_t survivor;

/* Its address identifies the thread and stays the same in a child. */
static _Thread_local char place;

static uint64_t
generation_bits(void)
{
    return (uint64_t)atomic_load_explicit(&owngil_refcount_generation, memory_order_relaxed) << ADDRESS_BITS;
}

uint64_t
owngil_waitable_this_thread(void)
{
    return generation_bits() | ((uint64_t)(uintptr_t)&place & ADDRESS);
}

bool
owngil_waitable_has_thread(uint64_t thread)
{
    return (thread & ~ADDRESS) == generation_bits() || (thread & ADDRESS) == survivor;
}

void
owngil_waitable_free(owngil_refcounted *base)
{
    pthread_mutex_destroy(&((owngil_waitable *)base)->lock);
    free(base);
}

void
owngil_waitable_init(owngil_waitable *self, owngil_kind kind, void (*free_function)(owngil_refcounted *),
                     void (*renew)(owngil_waitable *))
{
    owngil_refcount_init(&self->base, kind, free_function);
    pthread_mutex_init(&self->lock, NULL);
    self->renew = renew;
}

void
owngil_waitable_lock(owngil_waitable *self)
{
    if (owngil_refcount_is_inherited(&self->base)) {
        pthread_mutex_lock(&renewing);
        if (owngil_refcount_is_inherited(&self->base)) {
            pthread_mutex_init(&self->lock, NULL);
            self->waiters = (owngil_waiters){0};
            if (self->renew != NULL) {
                self->renew(self);
            }
            atomic_store(&self->base.generation, atomic_load(&owngil_refcount_generation));
        }
        pthread_mutex_unlock(&renewing);
    }
    pthread_mutex_lock(&self->lock);
}

size_t
owngil_waitable_waiting(owngil_waitable *self)
{
    owngil_waitable_lock(self);
    size_t count = self->waiters.length;
    owngil_waitable_unlock(self);
    return count;
}

void
owngil_waitable_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &renewing);
    if (step == OWNGIL_ATFORK_CHILD) {
        survivor = (uint64_t)(uintptr_t)&place & ADDRESS;
    }
}
