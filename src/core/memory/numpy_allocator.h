/* The allocator of the arrays of a worker's NumPy (NEP 49), by which arrays can be handed over without a copy.
 *
 * Memory comes from malloc(), as NumPy's own does, with a header before it. When an array is sent, its memory becomes a
 * block, to which the array refers like all other holders. Releasing the last reference frees the memory, in whatever
 * interpreter, even long after the worker's end.
 */
#pragma once

#include "base/compat.h"
#include "memory/block.h"

/* Installs the allocator in the NumPy whose C API is in the capsule, for the calling thread's context. Returns 0, or -1
 * with an exception. */
int owngil_numpy_allocator_install(PyObject *api);

/* Returns a block of the `size` bytes at `data`, which lie in the memory that starts at `start` and that this allocator
 * gave an array; or NULL: they do not lie in it, or there is no memory. Needs the GIL of the array's interpreter. */
owngil_block *owngil_numpy_allocator_block(void *start, void *data, size_t size);
