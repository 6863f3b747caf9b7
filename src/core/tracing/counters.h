/* What a worker did with its time: a stopwatch that always runs, for one phase at a time, and counts beside it.
 *
 * The worker's own thread writes; any thread reads, without a GIL. Nobody waits for anybody: the reader looks again if the
 * worker was at it (a version that is odd meanwhile). Costs the worker one look at the clock for each change of phase.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

typedef enum {
    OWNGIL_PHASE_START, /* up to the first wait for a task: making the interpreter, imports, the initializer */
    OWNGIL_PHASE_IDLE,  /* waiting for a task */
    OWNGIL_PHASE_READ,  /* rebuilding the call */
    OWNGIL_PHASE_RUN,   /* the user's function */
    OWNGIL_PHASE_WRITE, /* writing the result, and showing what was printed */
    OWNGIL_PHASE_END,   /* from the last task to the end of the interpreter */
    OWNGIL_PHASES,
} owngil_phase;

typedef struct {
    atomic_uint version;
    atomic_int phase;
    _Atomic int64_t since;                /* when the phase began */
    _Atomic int64_t spent[OWNGIL_PHASES]; /* nanoseconds, without the phase that is under way */
    _Atomic int64_t waited;               /* nanoseconds that the worker's tasks were in the queue */
    _Atomic int64_t tasks, calls, failed, bytes_in, bytes_out;
} owngil_counters;

/* The same at one moment, with the phase that is under way. */
typedef struct {
    int phase;
    int64_t spent[OWNGIL_PHASES];
    int64_t waited, tasks, calls, failed, bytes_in, bytes_out;
} owngil_counters_snapshot;

/* Starts the stopwatch, in the first phase; before others see it. */
void owngil_counters_init(owngil_counters *self);

/* Each of these ends a phase, and returns the time. For the worker's own thread. */
int64_t owngil_counters_enter(owngil_counters *self, owngil_phase phase);

/* A task of so many bytes was taken, which was put into the queue at `sent_at`; 0: that is not known. */
int64_t owngil_counters_take(owngil_counters *self, int64_t sent_at, int64_t bytes);

/* It is done: of its calls so many failed; `bytes` go back. */
int64_t owngil_counters_answer(owngil_counters *self, int64_t calls, int64_t failed, int64_t bytes);

owngil_counters_snapshot owngil_counters_read(owngil_counters *self);
