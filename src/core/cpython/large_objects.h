/* Memory for a worker's objects that are too large for CPython's arenas, freed when the worker has ended.
 *
 * CPython takes memory for more than 512 bytes (code, docstrings, dicts, types) from malloc(). What C statics still
 * hold when an interpreter ends would be lost: 4 MB each time, with SciPy and pandas. So a worker's own thread gets
 * blocks of up to 512 KiB from chunks that belong to the worker. Their address tells these blocks from others: all
 * chunks are in one range.
 */
#pragma once

#include "base/atfork.h"
#include "base/compat.h"

#include <stdbool.h>

enum { OWNGIL_LARGE_OBJECTS_CLASSES = 80 }; /* sizes of blocks: eight for each doubling from 512 bytes to 512 KiB */

/* A worker's heap. Needs the GIL of `interp`. */
typedef struct {
    PyInterpreterState *interp; /* the worker's; set before the heap is used */
    struct owngil_chunk *all;
    struct owngil_chunk *with_room[OWNGIL_LARGE_OBJECTS_CLASSES];
} owngil_large_objects;

/* Puts hooks before CPython's allocators, once. Does nothing if other hooks are there already (tracemalloc, debug
 * hooks), or if no range of addresses can be had. Returns whether the hooks are there. Needs the GIL of the main
 * interpreter. */
bool owngil_large_objects_install(void);

/* Makes the calling thread take its blocks from `self`, while it runs `self->interp`; NULL: from CPython again. Returns
 * the heap that it used before, or NULL. */
owngil_large_objects *owngil_large_objects_use(owngil_large_objects *self);

/* Frees all chunks. No thread may use a block of them any more. Needs no GIL. */
void owngil_large_objects_clear(owngil_large_objects *self);

void owngil_large_objects_atfork(owngil_atfork_step step);
