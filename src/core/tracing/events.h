/* What happens to tasks: for the counters of workers, and for a recording while one is on.
 *
 * Each function needs the GIL of the calling thread, unless it says otherwise.
 */
#pragma once

#include "messaging/queue.h"
#include "tracing/counters.h"
#include "tracing/recorder.h"

/* What a worker does. */
typedef struct {
    /* Constant. */
    const char *name;           /* the worker's; borrowed */
    uint64_t number;            /* the worker's */
    uint64_t queue;             /* number of the queue of its tasks */
    /* Atomic. */
    owngil_counters counters;
    _Atomic uint64_t task;      /* for a recording: the task that it does; 0: none */
    _Atomic int64_t times[4];   /* of that task, see owngil_event_record */
    _Atomic int64_t bytes;
    owngil_recorder_slot name_slot, row_slot;
    /* Of the worker's thread. */
    int64_t calls, failed;      /* of the calls that its task made; see count_calls() */
} owngil_activity;

/* The calling thread is the worker's own from now on; NULL: no more. Needs no GIL. */
void owngil_events_adopt(owngil_activity *self);

/* The calling thread has written a call, since then; it is about to put a task; it has cancelled one; it has rebuilt what a
 * worker sent back, since then (`task` may be 0). */
void owngil_events_wrote(int64_t since);
void owngil_events_send(owngil_queue *queue, owngil_message *task);
void owngil_events_cancel(const owngil_message *task);
void owngil_events_receive(owngil_queue *replies, uint64_t task, int64_t since);

/* The worker, whose own thread calls: it waits for a task; it has taken one; it is about to call a function of that name (only
 * while a recording is on); it calls; the call has returned; it is about to send the answer; it has ended its interpreter
 * since then (this needs no GIL). */
void owngil_events_wait(owngil_activity *self);
void owngil_events_take(owngil_activity *self, const owngil_message *task);
void owngil_events_name(owngil_activity *self, const char *name);
void owngil_events_call(owngil_activity *self);
void owngil_events_return(owngil_activity *self);
void owngil_events_answer(owngil_activity *self, const owngil_message *answer, bool failed);
void owngil_events_end(owngil_activity *self, int64_t since);

/* Records the task that the worker is doing now, unfinished. Needs no GIL. */
void owngil_events_unfinished(owngil_activity *self);
