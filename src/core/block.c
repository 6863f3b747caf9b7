#include "block.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct {
    owngil_block block;
    _Alignas(OWNGIL_BLOCK_ALIGNMENT) char bytes[];
} own_block;

static void
block_free(owngil_shared *base)
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
    owngil_shared_init(&self->block.base, OWNGIL_KIND_BLOCK, block_free);
    self->block.data = self->bytes;
    self->block.size = size;
    self->block.is_writable = false;
    return &self->block;
}

enum {
    MAP = 1 << 20,        /* from this size on pages of their own: malloc() may clear what it has had before, and keep it */
    HUGE_PAGES = 1 << 22, /* as NumPy's own arrays */
};

static void
mapping_free(owngil_shared *base)
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
    if (size >= HUGE_PAGES) {
        madvise(data, size, MADV_HUGEPAGE); /* a wish */
    }
    owngil_shared_init(&self->base, OWNGIL_KIND_BLOCK, mapping_free);
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
part_free(owngil_shared *base)
{
    owngil_shared_release(&((part *)base)->whole->base);
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
    owngil_shared_init(&self->block.base, OWNGIL_KIND_BLOCK, part_free);
    self->block.data = data;
    self->block.size = size;
    self->block.is_writable = whole->is_writable;
    self->whole = whole;
    owngil_shared_acquire(&whole->base);
    return &self->block;
}
