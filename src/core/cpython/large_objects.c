#include "cpython/large_objects.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RANGE ((size_t)1 << 36) /* of addresses, without memory until they are used */
enum {
    SMALLEST = 512, /* up to this size, memory comes from CPython's arenas */
    LARGEST = 1 << 19,
    CHUNK = 1 << 21,
    KEPT = 1 << 14, /* size of the largest blocks of which one empty chunk is kept */
};

typedef struct block {
    struct block *next;
} block;

/* `place` in a list is the pointer that points at this chunk: in the heap or in the chunk before. */
typedef struct owngil_chunk {
    owngil_large_objects *heap;
    struct owngil_chunk *next_of_all, **place_of_all;
    struct owngil_chunk *next;   /* in the list of its class with room, or of spare chunks */
    struct owngil_chunk **place; /* in the list of its class with room; NULL: the chunk is full */
    block *freed;
    uint32_t class, size;        /* of its blocks */
    uint32_t fresh;              /* offset of the part that was never used */
    uint32_t used;               /* number of blocks */
} chunk;

enum { FIRST = (sizeof(chunk) + 63) / 64 * 64 }; /* offset of the first block */

static char *range;                      /* set once; NULL: no hooks are installed */
static size_t range_used;                /* bytes of the range; guarded by `lock` */
static chunk *spare;                     /* guarded by `lock` */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */
static PyMemAllocatorEx original;        /* set once: of PYMEM_DOMAIN_MEM and PYMEM_DOMAIN_OBJ */

static _Thread_local owngil_large_objects *current __attribute__((tls_model("initial-exec")));

static bool
is_in_range(const void *address)
{
    return (uintptr_t)address - (uintptr_t)range < RANGE;
}

static chunk *
chunk_of(const void *address)
{
    return (chunk *)((uintptr_t)address & ~(uintptr_t)(CHUNK - 1));
}

/* Returns the class of the smallest blocks that hold `size` bytes, and the size of these blocks. */
static uint32_t
class_of(size_t size, uint32_t *rounded)
{
    uint32_t last = (uint32_t)size - 1, doubling = 31 - (uint32_t)__builtin_clz(last), step = doubling - 3;
    uint32_t eighth = (last >> step) & 7;
    *rounded = ((uint32_t)1 << doubling) + ((eighth + 1) << step);
    return (doubling - 9) * 8 + eighth;
}

static void
link_with_room(chunk *self)
{
    self->place = &self->heap->with_room[self->class];
    self->next = *self->place;
    if (self->next != NULL) {
        self->next->place = &self->next;
    }
    *self->place = self;
}

static void
unlink_with_room(chunk *self)
{
    *self->place = self->next;
    if (self->next != NULL) {
        self->next->place = self->place;
    }
    self->place = NULL;
}

/* Returns a spare or new chunk, all zeros, or NULL. */
static chunk *
take_chunk(void)
{
    pthread_mutex_lock(&lock);
    chunk *self = spare;
    if (self != NULL) {
        spare = self->next;
    }
    else if (range_used < RANGE) {
        self = (chunk *)(range + range_used);
        range_used += CHUNK;
    }
    pthread_mutex_unlock(&lock);
    if (self != NULL && mprotect(self, CHUNK, PROT_READ | PROT_WRITE) != 0) {
        return NULL; /* without memory these addresses are lost; there are enough of them */
    }
    return self;
}

/* Frees the list of chunks that starts at `first`, by `next_of_all`. Their addresses become spare. */
static void
free_chunks(chunk *first)
{
    while (first != NULL) {
        chunk *self = first;
        first = self->next_of_all;
        (void)madvise(self, CHUNK, MADV_DONTNEED); /* returns the memory to the system; it reads as zeros then */
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
    *self = (chunk){.heap = heap, .class = class, .size = size, .fresh = FIRST};
    self->place_of_all = &heap->all;
    self->next_of_all = heap->all;
    if (heap->all != NULL) {
        heap->all->place_of_all = &self->next_of_all;
    }
    heap->all = self;
    link_with_room(self);
    return self;
}

static void
free_chunk(chunk *self)
{
    unlink_with_room(self);
    *self->place_of_all = self->next_of_all;
    if (self->next_of_all != NULL) {
        self->next_of_all->place_of_all = self->place_of_all;
    }
    self->next_of_all = NULL;
    free_chunks(self);
}

/* Returns the heap for a block of `size` bytes, or NULL. A worker's own thread may run other interpreters too: nested
 * ones, and main, which CPython switches to for memory that it keeps for the whole process. */
static owngil_large_objects *
heap_for(size_t size)
{
    if (size - (SMALLEST + 1) >= LARGEST - SMALLEST || current == NULL) {
        return NULL;
    }
    PyThreadState *running = PyThreadState_GetUnchecked();
    return running != NULL && PyThreadState_GetInterpreter(running) == current->interp ? current : NULL;
}

/* Returns a block, or NULL: CPython's allocator must provide it. */
static void *
take_block(size_t wanted)
{
    owngil_large_objects *heap = heap_for(wanted);
    if (heap == NULL) {
        return NULL;
    }
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
        unlink_with_room(self);
    }
    return result;
}

static void
free_block(void *address)
{
    chunk *self = chunk_of(address);
    block *freed = address;
    freed->next = self->freed;
    self->freed = freed;
    if (self->place == NULL) {
        link_with_room(self);
    }
    /* One empty chunk of a class is kept, lest a single block that is allocated and freed again and again takes a new
     * chunk each time. No chunk of large blocks is kept: large blocks of various sizes, even one at a time, would leave
     * a chunk's memory in each of many classes. */
    if (--self->used == 0
        && (self->size > KEPT || self->next != NULL || self->place != &self->heap->with_room[self->class])) {
        free_chunk(self);
    }
}

/* The hooks leave CPython's context as it was: PyMem_SetAllocator() writes several words, and threads of other
 * interpreters may read them at that moment. Any mixture of the old words and the new ones works. */

static void *
hook_malloc(void *context, size_t size)
{
    void *result = take_block(size);
    return result != NULL ? result : original.malloc(context, size);
}

static void *
hook_calloc(void *context, size_t count, size_t size)
{
    size_t total;
    void *result = __builtin_mul_overflow(count, size, &total) ? NULL : take_block(total);
    return result != NULL ? memset(result, 0, total) : original.calloc(context, count, size);
}

static void
hook_free(void *context, void *address)
{
    if (is_in_range(address)) {
        free_block(address);
    }
    else {
        original.free(context, address);
    }
}

static void *
hook_realloc(void *context, void *address, size_t size)
{
    if (!is_in_range(address)) {
        return address != NULL ? original.realloc(context, address, size) : hook_malloc(context, size);
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

bool
owngil_large_objects_install(void)
{
    static const PyMemAllocatorDomain domains[2] = {PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};
    if (range != NULL || getenv("PYTHONMALLOC") != NULL) {
        return range != NULL;
    }
    PyMemAllocatorEx found[2];
    for (size_t k = 0; k < 2; k++) {
        PyMem_GetAllocator(domains[k], &found[k]);
    }
    /* CPython's own allocators are the same for both domains and have no context. Other ones have a context. If they
     * are there only for a while, they later restore the allocators from before ours, which would then get our
     * blocks. */
    if (found[0].ctx != NULL || found[1].ctx != NULL || found[0].malloc != found[1].malloc) {
        return false;
    }
    char *start = mmap(NULL, RANGE + CHUNK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        return false;
    }
    /* A huge page for each of many sizes would be a waste. */
    (void)madvise(start, RANGE + CHUNK, MADV_NOHUGEPAGE);
    range = (char *)(((uintptr_t)start + CHUNK - 1) & ~(uintptr_t)(CHUNK - 1));
    original = found[0];
    PyMemAllocatorEx hook = {.malloc = hook_malloc, .calloc = hook_calloc, .realloc = hook_realloc, .free = hook_free};
    for (size_t k = 0; k < 2; k++) {
        PyMem_SetAllocator(domains[k], &hook);
    }
    return true;
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
    free_chunks(self->all);
    *self = (owngil_large_objects){.all = NULL};
}

void
owngil_large_objects_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &lock);
}
