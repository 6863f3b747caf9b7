#include "memory/block.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct {
    owngil_block block;
    _Alignas(OWNGIL_BLOCK_ALIGNMENT) char bytes[];
} own_block;

enum { HUGE = 1 << 22, PAGE = 4096 }; /* NumPy's */

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
        madvise((void *)first, size - (first - (uintptr_t)data), MADV_HUGEPAGE); /* may fail: it is a wish */
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
    if (size > PTRDIFF_MAX - 2 * sizeof(own_block)) {
        return NULL;
    }
    /* aligned_alloc wants a multiple of the alignment */
    size_t total = (sizeof(own_block) + size + OWNGIL_BLOCK_ALIGNMENT - 1) & ~(size_t)(OWNGIL_BLOCK_ALIGNMENT - 1);
    own_block *self = aligned_alloc(OWNGIL_BLOCK_ALIGNMENT, total);
    if (self == NULL) {
        return NULL;
    }
    owngil_block_advise(self, total);
    owngil_refcount_init(&self->block.base, OWNGIL_KIND_BLOCK, block_free);
    self->block.data = self->bytes;
    self->block.size = size;
    self->block.is_writable = false;
    return &self->block;
}

/* From this size on, zeros have pages of their own: malloc() may have to clear memory that it has had before. */
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
    if (self == NULL || size > PTRDIFF_MAX) {
        free(self);
        return NULL;
    }
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        free(self);
        return NULL;
    }
    owngil_block_advise(data, size);
    owngil_refcount_init(&self->base, OWNGIL_KIND_BLOCK, mapping_free);
    self->data = data;
    self->size = size;
    self->is_writable = true;
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

owngil_block *
owngil_block_part(owngil_block *whole, void *data, size_t size)
{
    uintptr_t offset = (uintptr_t)data - (uintptr_t)whole->data; /* a huge number if it lies before */
    if (size > whole->size || offset > whole->size - size) {
        return NULL;
    }
    part *self = malloc(sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_refcount_init(&self->block.base, OWNGIL_KIND_BLOCK, part_free);
    self->block.data = data;
    self->block.size = size;
    self->block.is_writable = whole->is_writable;
    self->whole = whole;
    owngil_refcount_acquire(&whole->base);
    return &self->block;
}
