/* Keeps a module's locks usable in the child of a fork.
 *
 * The child has one thread and a copy of all memory: a lock that another thread held at the fork would stay locked
 * there for ever. So each module with state of its own has a function owngil_<module>_atfork(). workers/fork.c calls
 * these functions with each step, in the lock order.
 */
#pragma once

#include <pthread.h>

/* Before the fork; after it in the parent; after it in the child. */
typedef enum { OWNGIL_ATFORK_PREPARE, OWNGIL_ATFORK_PARENT, OWNGIL_ATFORK_CHILD } owngil_atfork_step;

/* Holds the mutex during the fork: locks it before, and unlocks it afterwards in parent and child. */
static inline void
owngil_atfork_lock(owngil_atfork_step step, pthread_mutex_t *lock)
{
    if (step == OWNGIL_ATFORK_PREPARE) {
        pthread_mutex_lock(lock);
    }
    else { /* in the child too: its only thread is the one that locked it */
        pthread_mutex_unlock(lock);
    }
}
