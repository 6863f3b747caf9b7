/* State of the process, and who may touch it:
 *
 *   what      allocated by          guarded by
 *   number    -                     atomic
 *   exiting   -                     `lock`, announced by `changed`
 *   kept      owngil_runtime_keep   `lock`; freed by owngil_runtime_exit
 *
 * Lock order of the whole core: a worker's lock, then a queue's or a parking's, or `lock` here; the latter three are
 * leaves: nothing is locked while one of them is held. A GIL is taken only while none of these is held.
 */
#include "runtime.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
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
