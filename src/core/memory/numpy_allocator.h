/* Where a worker's NumPy takes the memory of its arrays from, so that they can be handed over without a copy.
 *
 * NumPy lets one say where an array's memory comes from and goes to (NEP 49). Ours comes from malloc() as NumPy's does, with
 * a header before it. When an array is sent, its memory becomes a block, which the array refers to like everybody else:
 * whoever lets go of it last frees it, in whatever interpreter, when the worker may be long gone.
 */
#pragma once

#include "base/compat.h"
#include "memory/block.h"

/* Lets the NumPy whose C API the capsule has take memory from here, in the calling thread's context. Returns 0, or -1 with
 * an exception. */
int owngil_numpy_allocator_install(PyObject *api);

/* Returns a block of `size` bytes at `data`, which lie in the memory at `start` of an array that has it from here; or NULL:
 * they do not, or there is no memory. Needs the GIL of the array's interpreter. */
owngil_block *owngil_numpy_allocator_block(void *start, void *data, size_t size);
