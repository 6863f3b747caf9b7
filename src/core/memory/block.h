/* A block of memory that any interpreter may read, and that stays as long as somebody refers to it. */
#pragma once

#include "base/refcount.h"

#include <stdbool.h>

/* NumPy and Arrow like their data on cache lines. */
#define OWNGIL_BLOCK_ALIGNMENT 64

/* Where the memory is and whose, the kind of block knows: see lease.h for what an interpreter lends. */
typedef struct {
    owngil_refcounted base;
    void *data;
    size_t size;      /* bytes */
    bool is_writable; /* by whoever has it, whoever it came from: a shared array's. Does not change. */
} owngil_block;

/* Returns a block of `size` bytes at `data`, which lie in `whole` and are as writable as it is, or NULL: they do not, or
 * there is no memory. Needs no GIL. */
owngil_block *owngil_block_part(owngil_block *whole, void *data, size_t size);

/* Returns a block of the process's own: `size` uninitialised bytes, which outlive the interpreter that writes them, or NULL without memory. Needs no GIL. */
owngil_block *owngil_block_new(size_t size);

/* Returns a block of `size` zeros that everybody may write, or NULL without memory. Large ones take up room only as they are
 * written. Needs no GIL. */
owngil_block *owngil_block_new_zeros(size_t size);

/* Asks for huge pages for the memory if it is large, as NumPy does for its own arrays: it is touched several times as
 * fast. For memory that is new. Needs no GIL. */
void owngil_block_advise(void *data, size_t size);

/* Reads NUMPY_MADVISE_HUGEPAGE, which forbids it if it is 0. For the main interpreter, before there are blocks. */
void owngil_block_configure(void);
