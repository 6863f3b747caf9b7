#include "cpython/large_objects.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RANGE ((size_t)1 << 36) /* of addresses; memory is taken as it is used */
enum {
    SMALLEST = 512, /* what is not larger is CPython's own */
    LARGEST = 1 << 19,
    CHUNK = 1 << 21,
    KEPT = 1 << 14, /* largest blocks of which an empty chunk stays */
};

typedef struct block {
    struct block *next;
} block;

typedef struct owngil_chunk {
    owngil_large_objects *heap;
    struct owngil_chunk *next_of_all, *previous_of_all;
    struct owngil_chunk *next, *previous; /* of those of its class with room; or `next` of the spare ones */
    block *freed;
    uint32_t class, size;                 /* of its blocks */
    uint32_t fresh;                       /* offset of what was never used */
    uint32_t used;                        /* blocks */
    bool has_room;
} chunk;

enum { FIRST = (sizeof(chunk) + 63) / 64 * 64 }; /* offset of the first block */

static char *range;                      /* set once */
static size_t given_out;                 /* bytes of it; guarded by `lock` */
static chunk *spare;                     /* guarded by `lock` */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */
static PyMemAllocatorEx original[2];     /* set once: of PYMEM_DOMAIN_MEM and PYMEM_DOMAIN_OBJ */

static _Thread_local owngil_large_objects *current __attribute__((tls_model("initial-exec")));

static bool
is_ours(const void *address)
{
    return (uintptr_t)address - (uintptr_t)range < RANGE;
}

static chunk *
chunk_of(const void *address)
{
    return (chunk *)((uintptr_t)address & ~(uintptr_t)(CHUNK - 1));
}

/* The class of the smallest blocks that hold `size` bytes, and their size. */
static uint32_t
class_of(size_t size, uint32_t *rounded)
{
    uint32_t last = (uint32_t)size - 1, doubling = 31 - (uint32_t)__builtin_clz(last), step = doubling - 3;
    uint32_t eighth = (last >> step) & 7;
    *rounded = ((uint32_t)1 << doubling) + ((eighth + 1) << step);
    return (doubling - 9) * 8 + eighth;
}

static void
add_room(owngil_large_objects *heap, chunk *self)
{
    self->previous = NULL;
    self->next = heap->with_room[self->class];
    if (self->next != NULL) {
        self->next->previous = self;
    }
    heap->with_room[self->class] = self;
    self->has_room = true;
}

static void
remove_room(owngil_large_objects *heap, chunk *self)
{
    if (self->next != NULL) {
        self->next->previous = self->previous;
    }
    if (self->previous != NULL) {
        self->previous->next = self->next;
    }
    else {
        heap->with_room[self->class] = self->next;
    }
    self->has_room = false;
}

static chunk *
take_chunk(void)
{
    pthread_mutex_lock(&lock);
    chunk *self = spare;
    if (self != NULL) {
        spare = self->next;
    }
    else if (given_out < RANGE) {
        self = (chunk *)(range + given_out);
        given_out += CHUNK;
    }
    pthread_mutex_unlock(&lock);
    if (self != NULL && mprotect(self, CHUNK, PROT_READ | PROT_WRITE) != 0) {
        return NULL; /* lost: as many addresses as there are, memory is short now */
    }
    return self;
}

/* Chunks `first` to its end by `next_of_all`. The memory goes back to the system, the addresses stay. */
static void
give_back(chunk *first)
{
    while (first != NULL) {
        chunk *self = first;
        first = self->next_of_all;
        (void)madvise(self, CHUNK, MADV_DONTNEED); /* it is all zeros now */
        pthread_mutex_lock(&lock);
        self->next = spare;
        spare = self;
        pthread_mutex_unlock(&lock);
    }
}

static chunk *
new_chunk(owngil_large_objects *heap, uint32_t class, uint32_t size)
{
    chunk *self = take_chunk();
    if (self == NULL) {
        return NULL;
    }
    *self = (chunk){.heap = heap, .next_of_all = heap->all, .class = class, .size = size, .fresh = FIRST};
    if (heap->all != NULL) {
        heap->all->previous_of_all = self;
    }
    heap->all = self;
    add_room(heap, self);
    return self;
}

static void
remove_chunk(owngil_large_objects *heap, chunk *self)
{
    remove_room(heap, self);
    if (self->next_of_all != NULL) {
        self->next_of_all->previous_of_all = self->previous_of_all;
    }
    if (self->previous_of_all != NULL) {
        self->previous_of_all->next_of_all = self->next_of_all;
    }
    else {
        heap->all = self->next_of_all;
    }
    self->next_of_all = NULL;
    give_back(self);
}

static void *
take_block(owngil_large_objects *heap, size_t wanted)
{
    uint32_t size, class = class_of(wanted, &size);
    chunk *self = heap->with_room[class];
    if (self == NULL && (self = new_chunk(heap, class, size)) == NULL) {
        return NULL;
    }
    void *result;
    if (self->freed != NULL) {
        result = self->freed;
        self->freed = self->freed->next;
    }
    else {
        result = (char *)self + self->fresh;
        self->fresh += size;
    }
    self->used++;
    if (self->freed == NULL && self->fresh + size > CHUNK) {
        remove_room(heap, self);
    }
    return result;
}

static void
free_block(void *address)
{
    chunk *self = chunk_of(address);
    owngil_large_objects *heap = self->heap;
    block *freed = address;
    freed->next = self->freed;
    self->freed = freed;
    if (!self->has_room) {
        add_room(heap, self);
    }
    /* One empty chunk of a class stays, lest a single block that comes and goes takes and gives one each time. Of large
     * blocks none does: the one in use at a time would leave its memory in each of many classes. */
    if (--self->used == 0 && (self->size > KEPT || self->next != NULL || self->previous != NULL)) {
        remove_chunk(heap, self);
    }
}

/* The heap to take a block of `size` bytes from, or NULL. A worker's thread may run other interpreters too: nested ones,
 * and main, which CPython switches to for what it keeps for the whole process. */
static owngil_large_objects *
heap_for(size_t size)
{
    if (size - (SMALLEST + 1) >= LARGEST - SMALLEST || current == NULL) {
        return NULL;
    }
    PyThreadState *running = owngil_compat_current_tstate();
    return running != NULL && PyThreadState_GetInterpreter(running) == current->interp ? current : NULL;
}

static void *
hook_malloc(void *context, size_t size)
{
    const PyMemAllocatorEx *next = context;
    owngil_large_objects *heap = heap_for(size);
    if (heap != NULL) {
        void *result = take_block(heap, size);
        if (result != NULL) {
            return result;
        }
    }
    return next->malloc(next->ctx, size);
}

static void *
hook_calloc(void *context, size_t count, size_t size)
{
    const PyMemAllocatorEx *next = context;
    size_t total;
    owngil_large_objects *heap = __builtin_mul_overflow(count, size, &total) ? NULL : heap_for(total);
    if (heap != NULL) {
        void *result = take_block(heap, total);
        if (result != NULL) {
            return memset(result, 0, total);
        }
    }
    return next->calloc(next->ctx, count, size);
}

static void
hook_free(void *context, void *address)
{
    const PyMemAllocatorEx *next = context;
    if (is_ours(address)) {
        free_block(address);
    }
    else {
        next->free(next->ctx, address);
    }
}

static void *
hook_realloc(void *context, void *address, size_t size)
{
    const PyMemAllocatorEx *next = context;
    if (!is_ours(address)) {
        return address != NULL ? next->realloc(next->ctx, address, size) : hook_malloc(context, size);
    }
    size_t room = chunk_of(address)->size;
    if (size <= room && size > room / 2) {
        return address;
    }
    void *result = hook_malloc(context, size);
    if (result != NULL) {
        memcpy(result, address, size < room ? size : room);
        free_block(address);
    }
    return result;
}

void
owngil_large_objects_install(void)
{
    static const PyMemAllocatorDomain domains[2] = {PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};
    if (range != NULL || getenv("PYTHONMALLOC") != NULL) {
        return;
    }
    for (size_t k = 0; k < 2; k++) {
        PyMem_GetAllocator(domains[k], &original[k]);
    }
    /* CPython's own are the same for both and have no context. Others have one; those that are there for a while only
     * put back what was there before them, and our blocks would come to who does not know them. */
    if (original[0].ctx != NULL || original[1].ctx != NULL || original[0].malloc != original[1].malloc) {
        return;
    }
    char *start = mmap(NULL, RANGE + CHUNK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        return;
    }
    /* A huge page for each of many sizes would be a waste. */
    (void)madvise(start, RANGE + CHUNK, MADV_NOHUGEPAGE);
    range = (char *)(((uintptr_t)start + CHUNK - 1) & ~(uintptr_t)(CHUNK - 1));
    for (size_t k = 0; k < 2; k++) {
        PyMemAllocatorEx hook = {.ctx = &original[k],
                                 .malloc = hook_malloc,
                                 .calloc = hook_calloc,
                                 .realloc = hook_realloc,
                                 .free = hook_free};
        PyMem_SetAllocator(domains[k], &hook);
    }
}

owngil_large_objects *
owngil_large_objects_use(owngil_large_objects *self)
{
    owngil_large_objects *former = current;
    current = range != NULL ? self : NULL;
    return former;
}

void
owngil_large_objects_clear(owngil_large_objects *self)
{
    give_back(self->all);
    *self = (owngil_large_objects){.all = NULL};
}

void
owngil_large_objects_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &lock);
}
