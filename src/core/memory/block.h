/* A block of memory that any interpreter may read. It lives until its last reference is released. */
#pragma once

#include "base/refcount.h"

#include <stdbool.h>

/* NumPy and Arrow like their data on cache lines. */
#define OWNGIL_BLOCK_ALIGNMENT 64

/* The kind of block knows where the memory is and whose it is: see lease.h for what an interpreter lends. */
typedef struct {
    owngil_refcounted base;
    void *data;
    size_t size;      /* bytes */
    bool is_writable; /* by all holders, wherever they got it: a shared array's memory. Constant */
} owngil_block;

/* Starts the life of `self` with one reference. */
static inline void
owngil_block_init(owngil_block *self, void *data, size_t size, bool is_writable, void (*free)(owngil_refcounted *))
{
    owngil_refcount_init(&self->base, OWNGIL_KIND_BLOCK, free);
    self->data = data;
    self->size = size;
    self->is_writable = is_writable;
}

/* Whether the `size` bytes at `data` lie in `whole`. */
bool owngil_block_contains(const owngil_block *whole, const void *data, size_t size);

/* Returns a block of the `size` bytes at `data` in `whole`, as writable as that; or NULL: they do not lie in it, or
 * there is no memory. Needs no GIL. */
owngil_block *owngil_block_part(owngil_block *whole, void *data, size_t size);

/* Returns a block of `size` uninitialised bytes, which belongs to the process and outlives the interpreter that writes
 * it, or NULL without memory. Needs no GIL. */
owngil_block *owngil_block_new(size_t size);

/* Returns a block of `size` zeros that all may write, or NULL without memory. A large one takes up memory only when
 * written. Needs no GIL. */
owngil_block *owngil_block_new_zeros(size_t size);

/* Asks for huge pages if the memory is large, as NumPy does for its own arrays: new memory is touched several times as
 * fast then. Needs no GIL. */
void owngil_block_advise(void *data, size_t size);

/* Reads NUMPY_MADVISE_HUGEPAGE; 0 forbids huge pages. For the main interpreter, before there are blocks. */
void owngil_block_configure(void);
