#include "tracing/counters.h"

#include "base/clock.h"

#include <string.h>

void
owngil_counters_init(owngil_counters *self)
{
    memset(self, 0, sizeof(*self)); /* the same as atomic_init() with 0 for each, on all supported systems */
    atomic_init(&self->since, owngil_clock_now());
}

/* Adds to a counter. There is one writer, so the addition need not be atomic as a whole. Each store comes after the odd
 * version, and a reader that sees the stored value sees that version too. */
static inline void
add_to(_Atomic int64_t *counter, int64_t value)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + value, memory_order_release);
}

static inline void
step_version(owngil_counters *self, memory_order order)
{
    atomic_store_explicit(&self->version, atomic_load_explicit(&self->version, memory_order_relaxed) + 1, order);
}

/* Begins an update, and another phase. Returns the time. */
static inline int64_t
begin_update(owngil_counters *self, owngil_phase phase)
{
    step_version(self, memory_order_relaxed);
    int64_t now = owngil_clock_now();
    add_to(&self->spent[atomic_load_explicit(&self->phase, memory_order_relaxed)],
           now - atomic_load_explicit(&self->since, memory_order_relaxed));
    atomic_store_explicit(&self->phase, (int)phase, memory_order_release);
    atomic_store_explicit(&self->since, now, memory_order_release);
    return now;
}

static inline void
end_update(owngil_counters *self)
{
    step_version(self, memory_order_release);
}

int64_t
owngil_counters_enter(owngil_counters *self, owngil_phase phase)
{
    int64_t now = begin_update(self, phase);
    end_update(self);
    return now;
}

int64_t
owngil_counters_take(owngil_counters *self, int64_t sent_at, int64_t bytes)
{
    int64_t now = begin_update(self, OWNGIL_PHASE_READ);
    add_to(&self->waited, sent_at != 0 ? now - sent_at : 0);
    add_to(&self->bytes_in, bytes);
    end_update(self);
    return now;
}

int64_t
owngil_counters_answer(owngil_counters *self, int64_t calls, int64_t failed, int64_t bytes)
{
    int64_t now = begin_update(self, OWNGIL_PHASE_IDLE);
    add_to(&self->tasks, 1);
    add_to(&self->calls, calls);
    add_to(&self->failed, failed);
    add_to(&self->bytes_out, bytes);
    end_update(self);
    return now;
}

static inline int64_t
read_counter(const _Atomic int64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_acquire);
}

owngil_counters_snapshot
owngil_counters_read(owngil_counters *self)
{
    owngil_counters_snapshot copy;
    for (;;) {
        unsigned before = atomic_load_explicit(&self->version, memory_order_acquire);
        copy.phase = atomic_load_explicit(&self->phase, memory_order_acquire);
        int64_t since = read_counter(&self->since);
        for (int k = 0; k < OWNGIL_PHASES; k++) {
            copy.spent[k] = read_counter(&self->spent[k]);
        }
        copy.waited = read_counter(&self->waited);
        copy.tasks = read_counter(&self->tasks);
        copy.calls = read_counter(&self->calls);
        copy.failed = read_counter(&self->failed);
        copy.bytes_in = read_counter(&self->bytes_in);
        copy.bytes_out = read_counter(&self->bytes_out);
        if (before % 2 == 0 && before == atomic_load_explicit(&self->version, memory_order_relaxed)) {
            copy.spent[copy.phase] += owngil_clock_now() - since;
            return copy;
        }
    }
}
