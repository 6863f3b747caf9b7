/* Frees the memory for small objects that a worker leaves when it has ended.
 *
 * CPython keeps an interpreter's arenas if one object in them is left, and extension modules leave many: their C
 * statics hold them. No code can reach these objects once the interpreter has ended and its private copies are
 * unloaded. So this records for which owner each arena was allocated. An owner is a number of ids.h, which is never
 * used again.
 */
#pragma once

#include "base/atfork.h"

#include <stdint.h>

/* Hooks CPython's arena allocator; later calls do nothing. `owner_function` returns the owner whose interpreter the
 * calling thread runs; 0: none. Needs the GIL of the main interpreter. */
void owngil_arena_tracking_start(uint64_t (*owner_function)(void));

/* Frees the arenas that the interpreter of `owner` left. Needs no GIL. */
void owngil_arena_tracking_free(uint64_t owner);

void owngil_arena_tracking_atfork(owngil_atfork_step step);
