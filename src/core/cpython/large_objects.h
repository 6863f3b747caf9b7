/* Memory for a worker's objects that are too large for CPython's arenas, given back when the worker has ended.
 *
 * CPython takes what is larger than 512 bytes (code, docstrings, dicts, types) from malloc(). What C statics still hold
 * when an interpreter ends would be lost: 4 MB each time, with SciPy and pandas. So a worker's own thread gets blocks of
 * up to 512 KiB from chunks that belong to the worker. Blocks are told by their address: all chunks lie in one range.
 */
#pragma once

#include "base/atfork.h"
#include "base/compat.h"

enum { OWNGIL_LARGE_OBJECTS_CLASSES = 80 }; /* sizes of blocks: eight for each doubling from 512 bytes to 512 KiB */

/* Changed with the GIL of the worker's interpreter only. */
typedef struct {
    PyInterpreterState *interp; /* whose objects these are: set before it is used */
    struct owngil_chunk *all;
    struct owngil_chunk *with_room[OWNGIL_LARGE_OBJECTS_CLASSES];
} owngil_large_objects;

/* Puts the heaps before CPython's allocators; once is enough. Does nothing when others are there before it (tracemalloc,
 * debug hooks), or no range of addresses can be had. Needs the GIL of the main interpreter. */
void owngil_large_objects_install(void);

/* The calling thread takes its blocks from `self` from now on, while it runs `self->interp`; NULL: from CPython again.
 * Returns where it took them from before. */
owngil_large_objects *owngil_large_objects_use(owngil_large_objects *self);

/* Gives all of it back. Nobody may use a block of it any more. Needs no GIL. */
void owngil_large_objects_clear(owngil_large_objects *self);

void owngil_large_objects_atfork(owngil_atfork_step step);
