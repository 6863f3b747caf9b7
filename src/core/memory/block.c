#include "memory/block.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct {
    owngil_block block;
    _Alignas(OWNGIL_BLOCK_ALIGNMENT) char bytes[];
} inline_block;

enum { HUGE = 1 << 22, PAGE = 4096 }; /* as in NumPy */

static bool advises = true;

void
owngil_block_configure(void)
{
    const char *wish = getenv("NUMPY_MADVISE_HUGEPAGE");
    advises = wish == NULL || strcmp(wish, "0") != 0;
}

void
owngil_block_advise(void *data, size_t size)
{
    if (advises && size >= HUGE) {
        uintptr_t first = ((uintptr_t)data + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
        int error = errno;
        madvise((void *)first, size - (first - (uintptr_t)data), MADV_HUGEPAGE); /* only a wish: it may fail */
        errno = error;
    }
}

static void
block_free(owngil_refcounted *base)
{
    free(base);
}

owngil_block *
owngil_block_new(size_t size)
{
    if (size > PTRDIFF_MAX - 2 * sizeof(inline_block)) {
        return NULL;
    }
    /* aligned_alloc wants a multiple of the alignment */
    size_t total = (sizeof(inline_block) + size + OWNGIL_BLOCK_ALIGNMENT - 1) & ~(size_t)(OWNGIL_BLOCK_ALIGNMENT - 1);
    inline_block *self = aligned_alloc(OWNGIL_BLOCK_ALIGNMENT, total);
    if (self == NULL) {
        return NULL;
    }
    owngil_block_advise(self, total);
    owngil_block_init(&self->block, self->bytes, size, false, block_free);
    return &self->block;
}

/* From this size on, zeros come from mmap(): calloc() may have to clear memory that was used before. */
enum { MAP = 1 << 20 };

static void
mapping_free(owngil_refcounted *base)
{
    owngil_block *self = (owngil_block *)base;
    munmap(self->data, self->size);
    free(self);
}

owngil_block *
owngil_block_new_zeros(size_t size)
{
    owngil_block *self;
    if (size < MAP) {
        self = owngil_block_new(size);
        if (self != NULL) {
            memset(self->data, 0, size);
            self->is_writable = true;
        }
        return self;
    }
    self = malloc(sizeof(*self));
    void *data = self != NULL && size <= PTRDIFF_MAX
                     ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                     : MAP_FAILED;
    if (data == MAP_FAILED) {
        free(self);
        return NULL;
    }
    owngil_block_advise(data, size);
    owngil_block_init(self, data, size, true, mapping_free);
    return self;
}

typedef struct {
    owngil_block block;
    owngil_block *whole;
} part;

static void
part_free(owngil_refcounted *base)
{
    owngil_refcount_release(&((part *)base)->whole->base);
    free(base);
}

bool
owngil_block_contains(const owngil_block *whole, const void *data, size_t size)
{
    uintptr_t offset = (uintptr_t)data - (uintptr_t)whole->data; /* a huge number if it lies before `whole` */
    return size <= whole->size && offset <= whole->size - size;
}

owngil_block *
owngil_block_part(owngil_block *whole, void *data, size_t size)
{
    if (!owngil_block_contains(whole, data, size)) {
        return NULL;
    }
    part *self = malloc(sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_block_init(&self->block, data, size, whole->is_writable, part_free);
    self->whole = whole;
    owngil_refcount_acquire(&whole->base);
    return &self->block;
}
