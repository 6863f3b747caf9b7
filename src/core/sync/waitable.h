/* The common part of events, semaphores and barriers: a mutex and a line of waiters.
 * They stay usable in the child of a fork.
 *
 * At the moment of a fork another thread may hold the mutex, and the child has none of the waiting threads. So the
 * first thread that locks an inherited object, one made before the fork, makes its mutex and its line anew.
 *
 * These objects (counter.h too) belong to the process and outlive the interpreter that made them. No function needs a
 * GIL or touches a Python object. The mutexes are leaves, held for a moment only, so a function that does not wait may
 * be called with a GIL held.
 */
#pragma once

#include "base/atfork.h"
#include "base/refcount.h"
#include "sync/waiter.h"

#include <stdint.h>

typedef struct owngil_waitable {
    owngil_refcounted base;
    pthread_mutex_t lock;    /* guards the line and what the object adds; a leaf */
    owngil_waiters waiters;
    void (*renew)(struct owngil_waitable *); /* repairs the rest of an inherited object; NULL: nothing to repair */
} owngil_waitable;

/* Starts the life of `self`, which calloc() allocated, with one reference. */
void owngil_waitable_init(owngil_waitable *self, owngil_kind kind, void (*free_function)(owngil_refcounted *),
                          void (*renew)(owngil_waitable *));

/* The free function of objects that add nothing to free. */
void owngil_waitable_free(owngil_refcounted *base);

/* Locks the object's mutex, after making an inherited object the child's own. */
void owngil_waitable_lock(owngil_waitable *self);

static inline void
owngil_waitable_unlock(owngil_waitable *self)
{
    pthread_mutex_unlock(&self->lock);
}

/* Returns the number of waiters. */
size_t owngil_waitable_waiting(owngil_waitable *self);

/* Returns a number that tells the calling thread from all others. */
uint64_t owngil_waitable_this_thread(void);

/* Whether the thread of that number is in this process: a fork left all others behind. */
bool owngil_waitable_has_thread(uint64_t thread);

void owngil_waitable_atfork(owngil_atfork_step step);
