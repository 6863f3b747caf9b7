/* Takes note of what happens to tasks: for the counts of workers, and for a recording while one is on.
 *
 * Unless it says otherwise, each needs the GIL of the thread that calls.
 */
#ifndef OWNGIL_OBSERVE_H
#define OWNGIL_OBSERVE_H

#include "workers/worker.h"

/* The calling thread is about to put a task, when it has written it. */
void owngil_observe_send(owngil_queue *queue, owngil_message *task);

/* It has cancelled one. */
void owngil_observe_cancel(const owngil_message *task);

/* It has rebuilt what a worker sent back, since then; `task` may be 0. */
void owngil_observe_receive(owngil_queue *replies, uint64_t task, int64_t since);

/* The worker, whose own thread this is, waits for a task; has taken one; is about to send back what became of it; has ended
 * its interpreter since then (this needs no GIL). */
void owngil_observe_wait(owngil_worker *worker);
void owngil_observe_take(owngil_worker *worker, const owngil_message *task);
void owngil_observe_answer(owngil_worker *worker, const owngil_message *answer, bool failed);
void owngil_observe_end(owngil_worker *worker, int64_t since);

#endif
