#include "tracing/counters.h"

#include "base/clock.h"

#include <string.h>

void
owngil_counters_init(owngil_counters *self)
{
    memset(self, 0, sizeof(*self)); /* as atomic_init() with 0 does for each, on all that is supported */
    atomic_init(&self->since, owngil_clock_now());
}

/* There is one writer, so that no addition need be atomic as a whole. Each store comes after the odd version, and whoever
 * reads what it stored sees that too. */
static inline void
add(_Atomic int64_t *counter, int64_t value)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + value, memory_order_release);
}

static inline void
begin(owngil_counters *self)
{
    unsigned version = atomic_load_explicit(&self->version, memory_order_relaxed);
    atomic_store_explicit(&self->version, version + 1, memory_order_relaxed);
}

static inline void
end(owngil_counters *self)
{
    unsigned version = atomic_load_explicit(&self->version, memory_order_relaxed);
    atomic_store_explicit(&self->version, version + 1, memory_order_release);
}

static inline int64_t
turn(owngil_counters *self, owngil_phase phase)
{
    int64_t now = owngil_clock_now();
    add(&self->spent[atomic_load_explicit(&self->phase, memory_order_relaxed)],
        now - atomic_load_explicit(&self->since, memory_order_relaxed));
    atomic_store_explicit(&self->phase, (int)phase, memory_order_release);
    atomic_store_explicit(&self->since, now, memory_order_release);
    return now;
}

int64_t
owngil_counters_enter(owngil_counters *self, owngil_phase phase)
{
    begin(self);
    int64_t now = turn(self, phase);
    end(self);
    return now;
}

int64_t
owngil_counters_take(owngil_counters *self, int64_t sent_at, int64_t bytes)
{
    begin(self);
    int64_t now = turn(self, OWNGIL_PHASE_READ);
    add(&self->waited, sent_at != 0 ? now - sent_at : 0);
    add(&self->bytes_in, bytes);
    end(self);
    return now;
}

int64_t
owngil_counters_answer(owngil_counters *self, int64_t calls, int64_t failed, int64_t bytes)
{
    begin(self);
    int64_t now = turn(self, OWNGIL_PHASE_IDLE);
    add(&self->tasks, 1);
    add(&self->calls, calls);
    add(&self->failed, failed);
    add(&self->bytes_out, bytes);
    end(self);
    return now;
}

owngil_counters_snapshot
owngil_counters_read(owngil_counters *self)
{
    owngil_counters_snapshot copy;
    for (;;) {
        unsigned before = atomic_load_explicit(&self->version, memory_order_acquire);
        copy.phase = atomic_load_explicit(&self->phase, memory_order_acquire);
        int64_t since = atomic_load_explicit(&self->since, memory_order_acquire);
        for (int k = 0; k < OWNGIL_PHASES; k++) {
            copy.spent[k] = atomic_load_explicit(&self->spent[k], memory_order_acquire);
        }
        copy.waited = atomic_load_explicit(&self->waited, memory_order_acquire);
        copy.tasks = atomic_load_explicit(&self->tasks, memory_order_acquire);
        copy.calls = atomic_load_explicit(&self->calls, memory_order_acquire);
        copy.failed = atomic_load_explicit(&self->failed, memory_order_acquire);
        copy.bytes_in = atomic_load_explicit(&self->bytes_in, memory_order_acquire);
        copy.bytes_out = atomic_load_explicit(&self->bytes_out, memory_order_acquire);
        if (before % 2 == 0 && before == atomic_load_explicit(&self->version, memory_order_relaxed)) {
            copy.spent[copy.phase] += owngil_clock_now() - since;
            return copy;
        }
    }
}
