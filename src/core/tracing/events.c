#include "tracing/events.h"

#include "base/clock.h"
#include "base/compat.h"

/* The calling thread's: the activity of its worker, if it is a worker's own; else its row; and the nanoseconds that it took to
 * write the call that it will put next. */
static _Thread_local owngil_activity *activity;
static _Thread_local owngil_recorder_slot thread_row;
static _Thread_local int64_t writing;

void
owngil_events_adopt(owngil_activity *self)
{
    activity = self;
}

static bool
row_of_worker(owngil_activity *self, uint32_t *row)
{
    return owngil_recorder_get(&self->row_slot, row)
           || owngil_recorder_add_row(&self->row_slot, self->name, true, self->number, row);
}

/* The row of the calling thread; false if no recording is on. Leaves an exception that is set alone. */
static bool
row_of_thread(uint32_t *row)
{
    if (activity != NULL) {
        return row_of_worker(activity, row);
    }
    if (owngil_recorder_get(&thread_row, row)) {
        return true;
    }
    PyObject *error = PyErr_GetRaisedException();
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *thread = threading != NULL ? PyObject_CallMethod(threading, "current_thread", NULL) : NULL;
    PyObject *name = thread != NULL ? PyObject_GetAttrString(thread, "name") : NULL;
    const char *text = name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    bool known = owngil_recorder_add_row(&thread_row, text != NULL ? text : "a thread", false, 0, row);
    PyErr_Clear();
    Py_XDECREF(name);
    Py_XDECREF(thread);
    Py_XDECREF(threading);
    PyErr_SetRaisedException(error);
    return known;
}

void
owngil_events_send(owngil_queue *queue, owngil_message *task)
{
    task->sent_at = owngil_clock_now();
    task->sent_to = queue->number;
    if (writing != 0) {
        atomic_fetch_add_explicit(&queue->spent, writing, memory_order_relaxed);
    }
    owngil_event_record event = {.kind = OWNGIL_EVENT_SEND, .queue = queue->number, .task = task->id};
    unsigned session = owngil_recorder_current();
    if (session != 0 && row_of_thread(&event.row)) {
        event.times[0] = task->sent_at - writing;
        event.times[1] = task->sent_at;
        event.bytes_in = owngil_message_bytes(task);
        owngil_recorder_add(&event, session);
    }
    writing = 0;
}

void
owngil_events_cancel(const owngil_message *task)
{
    owngil_event_record event = {.kind = OWNGIL_EVENT_CANCEL, .queue = task->sent_to, .task = task->id};
    unsigned session = owngil_recorder_current();
    if (session != 0 && row_of_thread(&event.row)) {
        event.times[0] = task->sent_at;
        event.times[1] = owngil_clock_now();
        owngil_recorder_add(&event, session);
    }
}

void
owngil_events_receive(owngil_queue *replies, uint64_t task, int64_t since)
{
    int64_t now = owngil_clock_now();
    atomic_fetch_add_explicit(&replies->spent, now - since, memory_order_relaxed);
    owngil_event_record event = {.kind = OWNGIL_EVENT_RECEIVE, .task = task, .times = {since, now}};
    unsigned session = owngil_recorder_current();
    if (session != 0 && row_of_thread(&event.row)) {
        owngil_recorder_add(&event, session);
    }
}

void
owngil_events_wait(owngil_activity *self)
{
    if (atomic_load_explicit(&self->counters.phase, memory_order_relaxed) != OWNGIL_PHASE_START) {
        return;
    }
    int64_t now = owngil_counters_enter(&self->counters, OWNGIL_PHASE_IDLE);
    owngil_event_record event = {.kind = OWNGIL_EVENT_START, .queue = self->queue};
    unsigned session = owngil_recorder_current();
    if (session != 0 && row_of_worker(self, &event.row)) {
        event.times[0] = now - owngil_counters_read(&self->counters).spent[OWNGIL_PHASE_START];
        event.times[1] = now;
        owngil_recorder_add(&event, session);
    }
}

static void
set_time(owngil_activity *self, int k, int64_t time)
{
    atomic_store_explicit(&self->times[k], time, memory_order_relaxed);
}

void
owngil_events_take(owngil_activity *self, const owngil_message *task)
{
    int64_t bytes = owngil_message_bytes(task);
    self->calls = 1;
    self->failed = -1;
    set_time(self, 0, task->sent_at);
    set_time(self, 1, owngil_counters_take(&self->counters, task->sent_at, bytes));
    set_time(self, 2, 0);
    set_time(self, 3, 0);
    atomic_store_explicit(&self->bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&self->task, task->id, memory_order_release);
}

/* The event of the task that the worker is doing; false if there is none. Needs no GIL, of any thread. */
static bool
event_of_task(owngil_activity *self, owngil_event_record *event)
{
    *event = (owngil_event_record){.kind = OWNGIL_EVENT_TASK, .queue = self->queue};
    event->task = atomic_load_explicit(&self->task, memory_order_acquire);
    for (int k = 0; k < 4; k++) {
        event->times[k] = atomic_load_explicit(&self->times[k], memory_order_relaxed);
    }
    event->bytes_in = atomic_load_explicit(&self->bytes, memory_order_relaxed);
    if (!owngil_recorder_get(&self->name_slot, &event->name)) {
        event->name = UINT32_MAX; /* it began before the recording, or has not yet */
    }
    return event->task != 0 && row_of_worker(self, &event->row);
}

void
owngil_events_answer(owngil_activity *self, const owngil_message *answer, bool failed)
{
    int64_t failures = self->failed >= 0 ? self->failed : failed;
    int64_t bytes = owngil_message_bytes(answer);
    int64_t now = owngil_counters_answer(&self->counters, self->calls, failures, bytes);
    owngil_event_record event;
    unsigned session = owngil_recorder_current();
    if (session != 0 && event_of_task(self, &event)) {
        event.times[4] = now;
        event.bytes_out = bytes;
        event.calls = self->calls;
        event.failed = (uint32_t)failures;
        owngil_recorder_add(&event, session);
    }
    atomic_store_explicit(&self->name_slot, 0, memory_order_relaxed);
    atomic_store_explicit(&self->task, 0, memory_order_relaxed);
}

void
owngil_events_end(owngil_activity *self, int64_t since)
{
    owngil_event_record event = {.kind = OWNGIL_EVENT_END, .times = {since, owngil_clock_now()}};
    unsigned session = owngil_recorder_current();
    if (session != 0 && row_of_worker(self, &event.row)) {
        owngil_recorder_add(&event, session);
    }
}

void
owngil_events_wrote(int64_t since)
{
    writing = owngil_clock_now() - since;
}

void
owngil_events_name(owngil_activity *self, const char *name)
{
    uint32_t number;
    (void)owngil_recorder_add_name(&self->name_slot, name, &number);
}

void
owngil_events_call(owngil_activity *self)
{
    set_time(self, 2, owngil_counters_enter(&self->counters, OWNGIL_PHASE_RUN));
}

void
owngil_events_return(owngil_activity *self)
{
    set_time(self, 3, owngil_counters_enter(&self->counters, OWNGIL_PHASE_WRITE));
}

void
owngil_events_unfinished(owngil_activity *self)
{
    owngil_event_record event;
    unsigned session = owngil_recorder_current();
    if (event_of_task(self, &event)) {
        owngil_recorder_add(&event, session);
    }
}
