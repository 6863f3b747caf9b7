/* A block of memory that belongs to the process, so that bytes can outlive the interpreter that wrote them. */
#ifndef OWNGIL_BLOCK_H
#define OWNGIL_BLOCK_H

#include "shared.h"

/* NumPy and Arrow like their data on cache lines. */
#define OWNGIL_BLOCK_ALIGNMENT 64

typedef struct {
    owngil_shared base;
    size_t size; /* bytes */
    _Alignas(OWNGIL_BLOCK_ALIGNMENT) char data[];
} owngil_block;

/* Returns a block of `size` uninitialised bytes, or NULL without memory. Needs no GIL. */
owngil_block *owngil_block_new(size_t size);

#endif
