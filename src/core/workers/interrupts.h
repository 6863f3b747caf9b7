/* Stopping what a worker runs: interrupts, limits of time, and what to say of a task that does not notice.
 *
 * An interrupt is a visit: a thread enters the worker's interpreter as soon as its GIL can be had. A task begins and ends with
 * the GIL held, so the visitor hits the task that was meant or none; likewise a call with a limit. While one waits for the GIL,
 * it stands for all interrupts of the same task or call.
 */
#pragma once

#include "workers/worker.h"

/* KeyboardInterrupt in task `task`, if the worker is still running that one when its GIL can be had. Does not wait
 * for it. If the task still runs after `grace` seconds (0: never mind), the worker's dispatcher is told by a
 * OWNGIL_MESSAGE_STUCK; and if there is no thread for the interrupt, it is tried again until then. Returns 0 or an
 * errno. Locks the worker. Needs no GIL. */
int owngil_interrupts_interrupt(owngil_worker *worker, uint64_t task, double grace);

/* Lets every task that the worker begins from now on fail with KeyboardInterrupt, and interrupts the one that runs. What the
 * worker runs before its first task counts as one here; what is told of it is a OWNGIL_MESSAGE_STUCK_START. A
 * task that was interrupted for itself just now is left alone: it may be cleaning up. */
int owngil_interrupts_stop(owngil_worker *worker, double grace);

/* What the timers of a worker do when they expire. */
void owngil_interrupts_limit_expired(owngil_timer *timer, uint64_t limit);
void owngil_interrupts_grace_expired(owngil_timer *timer, uint64_t task);
