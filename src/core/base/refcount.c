#include "base/refcount.h"

atomic_uint owngil_refcount_generation;

/* Objects hold others (a queue its messages, a message its queues), so freeing one may release the next. Instead of
 * recursing, the outermost call on each thread frees them one after the other. */
static _Thread_local owngil_refcounted *dead;
static _Thread_local bool freeing;

void
owngil_refcount_free(owngil_refcounted *self)
{
    self->next_dead = dead;
    dead = self;
    if (freeing) {
        return;
    }
    freeing = true;
    while (dead != NULL) {
        owngil_refcounted *next = dead;
        dead = next->next_dead;
        next->free(next);
    }
    freeing = false;
}
