#include "tracing/recorder.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 256,
    MOST = 8000000, /* events: 800 MB */
};

typedef struct entry {
    struct entry *next;
    uint32_t number;
} entry;

atomic_uint owngil_recorder_session;

static pthread_mutex_t lock =
    PTHREAD_MUTEX_INITIALIZER; /* a leaf, and the one that may be locked with that of interp.c */
static unsigned sessions;                                /* guarded by `lock`, as all below */
static owngil_recorder_data data;
static size_t row_room, name_room;
static entry *buckets[BUCKETS]; /* of names */

bool
owngil_recorder_start(void)
{
    pthread_mutex_lock(&lock);
    bool can = atomic_load(&owngil_recorder_session) == 0;
    if (can) {
        sessions = sessions + 1 != 0 ? sessions + 1 : 1;
        atomic_store(&owngil_recorder_session, sessions);
    }
    pthread_mutex_unlock(&lock);
    return can;
}

static void
clear_buckets(void)
{
    for (size_t k = 0; k < BUCKETS; k++) {
        while (buckets[k] != NULL) {
            entry *next = buckets[k]->next;
            free(buckets[k]);
            buckets[k] = next;
        }
    }
}

bool
owngil_recorder_stop(owngil_recorder_data *result)
{
    pthread_mutex_lock(&lock);
    bool on = atomic_exchange(&owngil_recorder_session, 0) != 0;
    if (on) {
        *result = data;
        memset(&data, 0, sizeof(data));
        row_room = name_room = 0;
        clear_buckets();
    }
    pthread_mutex_unlock(&lock);
    return on;
}

void
owngil_recorder_free(owngil_recorder_data *self)
{
    while (self->first != NULL) {
        owngil_recorder_chunk *next = self->first->next;
        free(self->first);
        self->first = next;
    }
    for (size_t k = 0; k < self->row_count; k++) {
        free(self->rows[k].name);
    }
    for (size_t k = 0; k < self->name_count; k++) {
        free(self->names[k]);
    }
    free(self->rows);
    free(self->names);
}

void
owngil_recorder_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &lock);
}

void
owngil_recorder_forget(void)
{
    owngil_recorder_data old = {0};
    if (owngil_recorder_stop(&old)) {
        owngil_recorder_free(&old);
    }
}

bool
owngil_recorder_get(owngil_recorder_slot *slot, uint32_t *number)
{
    uint64_t value = atomic_load_explicit(slot, memory_order_relaxed);
    *number = (uint32_t)value;
    return value != 0 && value >> 32 == atomic_load_explicit(&owngil_recorder_session, memory_order_relaxed);
}

/* With the lock held. */
static void
set(owngil_recorder_slot *slot, uint32_t number)
{
    uint64_t session = atomic_load(&owngil_recorder_session);
    atomic_store_explicit(slot, session << 32 | number, memory_order_relaxed);
}

/* Makes room for one more; false without memory. With the lock held. */
static bool
make_room(void **items, size_t count, size_t *room, size_t size)
{
    if (count == *room) {
        size_t more = *room != 0 ? *room * 2 : 64;
        void *grown = realloc(*items, more * size);
        if (grown == NULL) {
            return false;
        }
        *items = grown;
        *room = more;
    }
    return true;
}

bool
owngil_recorder_add_row(owngil_recorder_slot *slot, const char *name, bool is_worker, uint64_t number, uint32_t *row)
{
    pthread_mutex_lock(&lock);
    if (atomic_load(&owngil_recorder_session) != 0 && !owngil_recorder_get(slot, row)
        && make_room((void **)&data.rows, data.row_count, &row_room, sizeof(data.rows[0]))) {
        char *copy = strdup(name);
        if (copy != NULL) {
            data.rows[data.row_count] = (owngil_recorder_thread){copy, is_worker, number};
            set(slot, (uint32_t)data.row_count++);
        }
    }
    bool known = owngil_recorder_get(slot, row);
    pthread_mutex_unlock(&lock);
    return known;
}

static size_t
bucket_of(const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *name != '\0'; name++) {
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    }
    return hash % BUCKETS;
}

/* With the lock held. False without memory. */
static bool
find_name(const char *name, uint32_t *number)
{
    entry **bucket = &buckets[bucket_of(name)];
    for (const entry *at = *bucket; at != NULL; at = at->next) {
        if (strcmp(data.names[at->number], name) == 0) {
            *number = at->number;
            return true;
        }
    }
    if (!make_room((void **)&data.names, data.name_count, &name_room, sizeof(data.names[0]))) {
        return false;
    }
    entry *new = malloc(sizeof(*new));
    char *copy = strdup(name);
    if (new == NULL || copy == NULL) {
        free(new);
        free(copy);
        return false;
    }
    *number = (uint32_t)data.name_count;
    *new = (entry){.next = *bucket, .number = *number};
    *bucket = new;
    data.names[data.name_count++] = copy;
    return true;
}

bool
owngil_recorder_add_name(owngil_recorder_slot *slot, const char *name, uint32_t *number)
{
    pthread_mutex_lock(&lock);
    bool known = atomic_load(&owngil_recorder_session) != 0 && find_name(name, number);
    if (known) {
        set(slot, *number);
    }
    pthread_mutex_unlock(&lock);
    return known;
}

void
owngil_recorder_add(const owngil_event_record *event, unsigned session)
{
    const size_t full = sizeof(data.last->events) / sizeof(data.last->events[0]);
    pthread_mutex_lock(&lock);
    if (session != 0 && atomic_load(&owngil_recorder_session) == session) {
        if (data.count < MOST && (data.last == NULL || data.last->count == full)) {
            owngil_recorder_chunk *chunk = malloc(sizeof(*chunk));
            if (chunk != NULL) {
                chunk->next = NULL;
                chunk->count = 0;
                *(data.last != NULL ? &data.last->next : &data.first) = chunk;
                data.last = chunk;
            }
        }
        if (data.count < MOST && data.last != NULL && data.last->count < full) {
            data.last->events[data.last->count++] = *event;
            data.count++;
        }
        else {
            data.dropped++;
        }
    }
    pthread_mutex_unlock(&lock);
}
