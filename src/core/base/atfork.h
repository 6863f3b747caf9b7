/* What a module of the core does about a fork.
 *
 * The child of a fork has one thread, and a copy of all memory. A lock that another thread held at that moment would
 * stay locked there for ever. So each module with state of its own has a function owngil_<module>_atfork(), which
 * workers/fork.c calls with each step, in the lock order.
 */
#pragma once

#include <pthread.h>

/* Before the fork; afterwards in the parent; and in the child. */
typedef enum { OWNGIL_ATFORK_PREPARE, OWNGIL_ATFORK_PARENT, OWNGIL_ATFORK_CHILD } owngil_atfork_step;

/* What each step does about a mutex: the forking thread holds it during the fork. */
static inline void
owngil_atfork_lock(owngil_atfork_step step, pthread_mutex_t *lock)
{
    if (step == OWNGIL_ATFORK_PREPARE) {
        pthread_mutex_lock(lock);
    }
    else { /* also in the child, whose one thread is the one that locked it */
        pthread_mutex_unlock(lock);
    }
}
