/* State of the process, and who may touch it:
 *
 *   what      allocated by          guarded by
 *   number    -                     atomic
 *   exiting   -                     `lock`, announced by `changed`
 *   kept      owngil_runtime_keep   `lock`; freed by owngil_runtime_exit
 *   notes     owngil_runtime_note   `lock`; freed by owngil_runtime_take_notes's caller
 *
 * What belongs to one part of the core is in its file: the list of living workers (interp.c), arenas (arenas.c), the
 * range and the spare chunks of heaps (heap.c), recordings (trace.c), alarms (alarm.c), each with a lock that is a leaf,
 * as is that of a worker's copies.
 *
 * Lock order of the whole core: that of the dynamic loader (dynamic.c), a worker's lock, then a leaf: a queue's, a
 * semaphore's, an event's, a barrier's, a parking's, `lock` here, or those above. Nothing is locked while a leaf is held,
 * but trace.c's while the list of living workers is. A GIL is taken only while none of these is held. Whoever is among those
 * who load (dynamic.c) has no lock by that, but forks wait for it: it may have its worker's GIL, and waits for no other.
 */
#include "base/process_notes.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct kept {
    struct kept *next;
    pthread_t thread;
} kept;

static struct {
    atomic_uint_fast64_t number;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool exiting;
    kept *kept;
    owngil_note *notes;
} runtime = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

uint64_t
owngil_runtime_next_number(void)
{
    return (uint64_t)atomic_fetch_add(&runtime.number, 1) + 1;
}

size_t
owngil_runtime_stack_size(void)
{
    /* The main thread's stack grows up to the soft limit. Without a limit there is no size to copy: 64 MiB of address
     * space cost nothing until they are used. */
    const size_t unlimited = (size_t)64 << 20;
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > (rlim_t)1 << 36) {
        return unlimited;
    }
    size_t size = (size_t)limit.rlim_cur;
    return size < (size_t)PTHREAD_STACK_MIN ? (size_t)PTHREAD_STACK_MIN : size;
}

void
owngil_runtime_keep(pthread_t thread)
{
    kept *entry = malloc(sizeof(*entry));
    if (entry == NULL) { /* nobody joins it then: no more than an untidy exit */
        return;
    }
    pthread_mutex_lock(&runtime.lock);
    entry->thread = thread;
    entry->next = runtime.kept;
    runtime.kept = entry;
    pthread_mutex_unlock(&runtime.lock);
}

void
owngil_runtime_await_exit(void)
{
    pthread_mutex_lock(&runtime.lock);
    while (!runtime.exiting) {
        pthread_cond_wait(&runtime.changed, &runtime.lock);
    }
    pthread_mutex_unlock(&runtime.lock);
}

void
owngil_runtime_exit(void)
{
    pthread_mutex_lock(&runtime.lock);
    runtime.exiting = true;
    kept *list = runtime.kept;
    runtime.kept = NULL;
    pthread_cond_broadcast(&runtime.changed);
    pthread_mutex_unlock(&runtime.lock);
    while (list != NULL) {
        kept *entry = list;
        list = entry->next;
        pthread_join(entry->thread, NULL);
        free(entry);
    }
}

uint64_t
owngil_runtime_get_note(const char *name)
{
    uint64_t value = 0;
    pthread_mutex_lock(&runtime.lock);
    for (const owngil_note *at = runtime.notes; at != NULL; at = at->next) {
        value = strcmp(at->name, name) == 0 ? at->value : value;
    }
    pthread_mutex_unlock(&runtime.lock);
    return value;
}

bool
owngil_runtime_set_note(const char *name, uint64_t value)
{
    pthread_mutex_lock(&runtime.lock);
    owngil_note *entry = runtime.notes;
    while (entry != NULL && strcmp(entry->name, name) != 0) {
        entry = entry->next;
    }
    if (entry == NULL && (entry = malloc(sizeof(*entry) + strlen(name) + 1)) != NULL) {
        strcpy(entry->name, name);
        entry->next = runtime.notes;
        runtime.notes = entry;
    }
    if (entry != NULL) {
        entry->value = value;
    }
    pthread_mutex_unlock(&runtime.lock);
    return entry != NULL;
}

owngil_note *
owngil_runtime_take_notes(void)
{
    pthread_mutex_lock(&runtime.lock);
    owngil_note *list = runtime.notes;
    runtime.notes = NULL;
    pthread_mutex_unlock(&runtime.lock);
    return list;
}

void
owngil_runtime_fork(owngil_fork_step step)
{
    owngil_fork_lock(step, &runtime.lock);
    if (step == OWNGIL_FORK_CHILD) {
        pthread_cond_init(&runtime.changed, NULL);
        runtime.kept = NULL;
    }
}
