#include "block.h"

#include <stdint.h>
#include <stdlib.h>

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
    return &self->block;
}
