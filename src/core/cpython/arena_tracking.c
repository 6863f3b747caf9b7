#include "cpython/arena_tracking.h"

#include "workers/worker.h"

#include <search.h>
#include <stdlib.h>

typedef struct arena {
    struct arena *next; /* in a list of those to be freed */
    void *address;
    size_t size;
    const owngil_worker *worker;
} arena;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */
static void *arenas;                                     /* a tree, by address; guarded by `lock` */
static PyObjectArenaAllocator original;                  /* set once */

static int
compare(const void *one, const void *other)
{
    const char *a = ((const arena *)one)->address, *b = ((const arena *)other)->address;
    return (a > b) - (a < b);
}

static void *
arena_alloc(void *Py_UNUSED(context), size_t size)
{
    void *address = original.alloc(original.ctx, size);
    const owngil_worker *worker = address != NULL ? owngil_interp_of_thread() : NULL;
    if (worker != NULL) {
        arena *entry = malloc(sizeof(*entry));
        if (entry != NULL) { /* else it stays when the interpreter ends */
            *entry = (arena){.address = address, .size = size, .worker = worker};
            pthread_mutex_lock(&lock);
            (void)tsearch(entry, &arenas, compare);
            pthread_mutex_unlock(&lock);
        }
    }
    return address;
}

static void
arena_free(void *Py_UNUSED(context), void *address, size_t size)
{
    const arena key = {.address = address};
    pthread_mutex_lock(&lock);
    arena **found = tfind(&key, &arenas, compare);
    arena *entry = found != NULL ? *found : NULL;
    if (entry != NULL) {
        (void)tdelete(&key, &arenas, compare);
    }
    pthread_mutex_unlock(&lock);
    free(entry);
    original.free(original.ctx, address, size);
}

void
owngil_arenas_watch(void)
{
    PyObjectArenaAllocator now = {.alloc = arena_alloc, .free = arena_free};
    if (original.alloc == NULL) {
        PyObject_GetArenaAllocator(&original);
        PyObject_SetArenaAllocator(&now);
    }
}

/* What collect() looks for, and what it found; twalk() passes on nothing. Guarded by `lock`. */
static struct {
    const owngil_worker *worker;
    arena *found;
} search;

static void
collect(const void *node, VISIT visit, int Py_UNUSED(depth))
{
    arena *entry = *(arena *const *)node;
    if ((visit == preorder || visit == leaf) && entry->worker == search.worker) {
        entry->next = search.found;
        search.found = entry;
    }
}

void
owngil_arenas_free(const owngil_worker *worker)
{
    pthread_mutex_lock(&lock);
    search.worker = worker;
    search.found = NULL;
    twalk(arenas, collect);
    arena *found = search.found;
    for (arena *entry = found; entry != NULL; entry = entry->next) {
        (void)tdelete(entry, &arenas, compare);
    }
    pthread_mutex_unlock(&lock);

    for (arena *next; found != NULL; found = next) {
        next = found->next;
        original.free(original.ctx, found->address, found->size);
        free(found);
    }
}

void
owngil_arenas_fork(owngil_fork_step step)
{
    owngil_fork_lock(step, &lock);
}
