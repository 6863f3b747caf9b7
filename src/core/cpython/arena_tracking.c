#include "cpython/arena_tracking.h"

#include "base/compat.h"

#include <search.h>
#include <stdlib.h>

typedef struct arena {
    struct arena *next; /* in the list of arenas to be freed */
    void *address;
    size_t size;
    uint64_t owner;
} arena;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */
static void *arenas;                                     /* a tree, by address; guarded by `lock` */
static PyObjectArenaAllocator original;                  /* this and the next are set once */
static uint64_t (*owner_of_thread)(void);

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
    uint64_t owner = address != NULL ? owner_of_thread() : 0;
    if (owner != 0) {
        arena *entry = malloc(sizeof(*entry));
        if (entry != NULL) { /* otherwise the arena stays when the interpreter ends */
            *entry = (arena){.address = address, .size = size, .owner = owner};
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
owngil_arena_tracking_start(uint64_t (*owner_function)(void))
{
    owner_of_thread = owner_function;
    if (original.alloc == NULL) {
        PyObject_GetArenaAllocator(&original);
        /* CPython's context stays: this writes several words, and threads of other interpreters may read them at that
         * moment. Any mixture of the old words and the new ones works. */
        PyObjectArenaAllocator hook = {.ctx = original.ctx, .alloc = arena_alloc, .free = arena_free};
        PyObject_SetArenaAllocator(&hook);
    }
}

/* The argument and the result of collect(): twalk() passes neither. Guarded by `lock`. */
static struct {
    uint64_t owner;
    arena *found;
} search;

static void
collect(const void *node, VISIT visit, int Py_UNUSED(depth))
{
    arena *entry = *(arena *const *)node;
    if ((visit == preorder || visit == leaf) && entry->owner == search.owner) {
        entry->next = search.found;
        search.found = entry;
    }
}

void
owngil_arena_tracking_free(uint64_t owner)
{
    pthread_mutex_lock(&lock);
    search.owner = owner;
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
owngil_arena_tracking_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &lock);
}
