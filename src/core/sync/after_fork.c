#include "sync/after_fork.h"

static pthread_mutex_t renewing = PTHREAD_MUTEX_INITIALIZER; /* a leaf */

/* The thread that forked this process; written in the child, where there is no other. */
static uint64_t survivor;

/* The address of it is the thread's, and stays the same in a child. */
static _Thread_local char place;

enum { ADDRESS_BITS = 48 };

static const uint64_t ADDRESS = ((uint64_t)1 << ADDRESS_BITS) - 1;

uint64_t
owngil_after_fork_this_thread(void)
{
    uint64_t generation = atomic_load_explicit(&owngil_refcount_generation, memory_order_relaxed);
    return generation << ADDRESS_BITS | ((uint64_t)(uintptr_t)&place & ADDRESS);
}

bool
owngil_after_fork_has_thread(uint64_t thread)
{
    uint64_t now = atomic_load_explicit(&owngil_refcount_generation, memory_order_relaxed);
    return ((thread ^ now << ADDRESS_BITS) & ~ADDRESS) == 0 || (thread & ADDRESS) == survivor;
}

void
owngil_after_fork_lock(owngil_refcounted *self, pthread_mutex_t *lock, owngil_waiters *waiters,
                       void (*restore)(owngil_refcounted *))
{
    if (owngil_refcount_is_inherited(self)) {
        pthread_mutex_lock(&renewing);
        if (owngil_refcount_is_inherited(self)) {
            pthread_mutex_init(lock, NULL);
            *waiters = (owngil_waiters){0};
            if (restore != NULL) {
                restore(self);
            }
            atomic_store(&self->generation, atomic_load(&owngil_refcount_generation));
        }
        pthread_mutex_unlock(&renewing);
    }
    pthread_mutex_lock(lock);
}

void
owngil_after_fork_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &renewing);
    if (step == OWNGIL_ATFORK_CHILD) {
        survivor = (uint64_t)(uintptr_t)&place & ADDRESS;
    }
}
