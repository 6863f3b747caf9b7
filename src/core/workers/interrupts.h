/* Interrupts: how a worker's task is stopped, and what is reported of a task that does not notice.
 *
 * To interrupt a worker, a helper thread takes its GIL and sets KeyboardInterrupt. Tasks, and calls with a time limit,
 * start and finish under that GIL, so the helper hits the intended one or none. While a helper thread waits for the
 * GIL, it stands for all interrupts of the same task or call.
 */
#pragma once

#include "workers/worker.h"

/* Raises KeyboardInterrupt in task number `task`, if the worker still runs it when a helper thread gets its GIL. Does
 * not wait for that. If no helper thread can start, the timers' thread tries again. Returns 0, or an errno if that
 * thread cannot start either. Locks the worker. Needs no GIL.
 *
 * With a `grace` period in seconds, not 0: if the task still runs after it, the dispatcher gets a message STUCK. */
int owngil_interrupts_interrupt(owngil_worker *worker, uint64_t task, double grace);

/* Interrupts the worker's task, and lets every task that it begins from now on fail with KeyboardInterrupt. The
 * worker's start, before its first task, counts as a task here; STUCK_START reports on that. A task that was
 * interrupted by itself just now is left alone, because it may be cleaning up. Otherwise as
 * owngil_interrupts_interrupt(). */
int owngil_interrupts_stop(owngil_worker *worker, double grace);

/* The expire() of a worker's two timers. */
void owngil_interrupts_limit_expired(owngil_timer *timer, uint64_t limit);
void owngil_interrupts_grace_expired(owngil_timer *timer, uint64_t task);
