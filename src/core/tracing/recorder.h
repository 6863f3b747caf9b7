/* A recording of what the workers of the process do, in memory, while somebody wants one: see owngil.trace.
 *
 * Events belong to the process, so they outlive their worker. Each is in a row: a worker's, or another thread's. Nothing here
 * needs a GIL or touches a Python object. While no recording is on, that costs one look at `owngil_recorder_session`.
 */
#pragma once

#include "base/atfork.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    OWNGIL_EVENT_TASK,    /* times: put, taken, called, returned, answered; 0: it has not come so far */
    OWNGIL_EVENT_SEND,    /* of this and the next: from, to */
    OWNGIL_EVENT_RECEIVE,
    OWNGIL_EVENT_START,
    OWNGIL_EVENT_END,
    OWNGIL_EVENT_CANCEL,  /* put, cancelled */
} owngil_event_kind;

/* All by owngil_clock_now(). _trace_format.py knows the layout. */
typedef struct {
    int64_t times[5];
    uint64_t queue, task;
    int64_t bytes_in, bytes_out, calls;
    uint32_t kind, row, name, failed;
} owngil_event_record;

typedef struct {
    char *name;
    bool is_worker;
    uint64_t number; /* the worker's */
} owngil_recorder_thread;

typedef struct owngil_recorder_chunk {
    struct owngil_recorder_chunk *next;
    size_t count;
    owngil_event_record events[1024];
} owngil_recorder_chunk;

/* What was recorded, for owngil_recorder_free(). */
typedef struct {
    owngil_recorder_chunk *first, *last;
    size_t count;    /* of events */
    size_t dropped;  /* events for which there was no room */
    owngil_recorder_thread *rows;
    size_t row_count;
    char **names;
    size_t name_count;
} owngil_recorder_data;

/* The number of the recording that is on; 0: none is. */
extern atomic_uint owngil_recorder_session;

static inline unsigned
owngil_recorder_current(void)
{
    return atomic_load_explicit(&owngil_recorder_session, memory_order_relaxed);
}

/* Returns false if a recording is on already. */
bool owngil_recorder_start(void);

/* Ends the recording, and moves it to `data`. False if none is on. */
bool owngil_recorder_stop(owngil_recorder_data *data);
void owngil_recorder_free(owngil_recorder_data *self);

/* Around a fork, as the data must be whole in the child; when that of the list of living workers is done. */
void owngil_recorder_atfork(owngil_atfork_step step);

/* In a forked child: it has no recording. */
void owngil_recorder_forget(void);

/* A slot keeps a number that is of use in one recording only; it starts with 0. */
typedef _Atomic uint64_t owngil_recorder_slot;

/* Whether the slot has a number of the recording that is on, then *number. */
bool owngil_recorder_get(owngil_recorder_slot *slot, uint32_t *number);

/* Gives `slot` the number of a new row, if it has none yet, and returns as owngil_recorder_get() does: false if no recording is
 * on, or there is no memory. */
bool owngil_recorder_add_row(owngil_recorder_slot *slot, const char *name, bool is_worker, uint64_t number,
                             uint32_t *row);

/* Likewise the number of a name, the same for equal names. */
bool owngil_recorder_add_name(owngil_recorder_slot *slot, const char *name, uint32_t *number);

/* Takes a copy of the event, if the recording is on still that was before the event's row and name were asked for. */
void owngil_recorder_add(const owngil_event_record *event, unsigned session);
