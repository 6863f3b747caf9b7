/* fork() in the main interpreter while workers live.
 *
 * The child has the forking thread alone, and a copy of all memory. Five things would kill it, or let it wait for ever:
 *
 * - CPython's own handler (PyOS_AfterFork_Child) deletes all interpreters but the main one, without their GILs and thread
 *   states, and crashes. So they leave CPython's list of interpreters before: their memory stays, unused.
 * - A lock of owngil's that another thread holds at that moment. All that belong to the process are taken before the fork.
 *   Those of single objects are not: who uses a lock, a semaphore, an event or a barrier of before makes its mutex anew
 *   (owngil_sync_lock). Alarms have no use for theirs in the child, nor for what it guards.
 * - The dynamic loader, with another thread in the middle of it (dynamic.h).
 * - A lock of the user's that another thread holds: who waits for it without a limit of time is told so
 *   (owngil_semaphore_is_lost).
 * - A queue whose other end is a worker: those that were made before the fork refuse to be used (owngil_shared_is_foreign).
 *
 * The list is CPython's private matter, and nothing public changes it. Where it is in _PyRuntime is found at run time: by
 * two pointers side by side, to the newest interpreter and to the main one, of which there must be just one pair. If there is
 * not, or CPython's own table for debuggers (3.13 and later) has another offset, the list stays as it is.
 */
#ifndef OWNGIL_FORK_H
#define OWNGIL_FORK_H

#include <pthread.h>

/* Before the fork; afterwards in the parent; and in the child. */
typedef enum { OWNGIL_FORK_PREPARE, OWNGIL_FORK_PARENT, OWNGIL_FORK_CHILD } owngil_fork_step;

/* What each step does about a leaf of the lock order. */
static inline void
owngil_fork_lock(owngil_fork_step step, pthread_mutex_t *lock)
{
    switch (step) {
    case OWNGIL_FORK_PREPARE:
        pthread_mutex_lock(lock);
        break;
    case OWNGIL_FORK_PARENT:
    case OWNGIL_FORK_CHILD: /* whose one thread is the one that has locked it */
        pthread_mutex_unlock(lock);
        break;
    }
}

/* sync.c's step; not in sync.h, whose names are not all for fork.c, which includes trace.h. */
void owngil_sync_fork(owngil_fork_step step);

/* Watches the forks of this process from now on; may be called again. Returns 0, or -1 with an exception set. Needs the GIL
 * of the main interpreter. */
int owngil_fork_watch(void);

#endif
