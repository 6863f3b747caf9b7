/* The header of everything that belongs to the process and not to an interpreter: blocks, messages, queues, workers, locks.
 *
 * Such an object holds no Python object. It lives as long as somebody holds a reference: a Python wrapper in some
 * interpreter, a message that carries it, or C code. References are taken and given back without any GIL.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct owngil_refcounted owngil_refcounted;

typedef enum {
    OWNGIL_KIND_BLOCK,
    OWNGIL_KIND_MESSAGE,
    OWNGIL_KIND_QUEUE,
    OWNGIL_KIND_WORKER,
    /* What threads synchronize with, in the order of owngil_state's sync_types. */
    OWNGIL_KIND_LOCK,
    OWNGIL_KIND_SEMAPHORE,
    OWNGIL_KIND_BOUNDED_SEMAPHORE,
    OWNGIL_KIND_EVENT,
    OWNGIL_KIND_BARRIER,
    OWNGIL_KIND_COUNTER,
    OWNGIL_KIND_WAKEUP,
    OWNGIL_KIND_TRANSFER,
} owngil_kind;

struct owngil_refcounted {
    atomic_size_t refs;
    owngil_kind kind;
    atomic_uint generation; /* of the process that made it, or has made it its own (owngil_after_fork_lock) */
    void (*free)(owngil_refcounted *);
    owngil_refcounted *next_dead; /* refcount.c's, once there are no more references */
};

/* Grows with each fork, in the child. */
extern atomic_uint owngil_refcount_generation;

/* Whether the object was made before the process was forked: whoever else has it is not here. */
static inline bool
owngil_refcount_is_inherited(const owngil_refcounted *self)
{
    return atomic_load_explicit(&self->generation, memory_order_acquire)
           != atomic_load_explicit(&owngil_refcount_generation, memory_order_relaxed);
}

/* Starts the life of `self` with one reference, the caller's. */
static inline void
owngil_refcount_init(owngil_refcounted *self, owngil_kind kind, void (*free)(owngil_refcounted *))
{
    atomic_init(&self->refs, 1);
    self->kind = kind;
    atomic_init(&self->generation, atomic_load_explicit(&owngil_refcount_generation, memory_order_relaxed));
    self->free = free;
    self->next_dead = NULL;
}

static inline void
owngil_refcount_acquire(owngil_refcounted *self)
{
    atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
}

/* Frees an object without references, and what only that held, however long the chain is. */
void owngil_refcount_free(owngil_refcounted *self);

/* Gives one reference back; the last one frees. NULL is allowed. */
static inline void
owngil_refcount_release(owngil_refcounted *self)
{
    if (self != NULL && atomic_fetch_sub_explicit(&self->refs, 1, memory_order_acq_rel) == 1) {
        owngil_refcount_free(self);
    }
}
