/* fork() in the main interpreter while workers live.
 *
 * The child has the forking thread alone, and a copy of all memory. Five things would kill it, or let it wait for ever:
 *
 * - CPython's own handler, which deletes the other interpreters: see interpreter_list.h.
 * - A lock of owngil's that another thread holds at that moment. All that belong to the process are taken before the fork.
 *   Those of single objects are not: the child's first use of a lock, a semaphore, an event or a barrier makes its mutex
 *   anew (after_fork.h).
 * - The dynamic loader, with another thread in the middle of it (fork_gate.h).
 * - A lock of the user's that another thread holds: waiting for it without a limit of time raises an exception
 *   (owngil_semaphore_is_lost).
 * - A queue whose other end is a worker: queues from before the fork refuse to be used (owngil_refcount_is_inherited).
 */
#pragma once

/* Watches the forks of this process from now on; may be called again. Returns 0, or -1 with an exception set. Needs the GIL
 * of the main interpreter. */
int owngil_fork_watch(void);
