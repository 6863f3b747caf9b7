/* Gives back the memory for small objects when a worker has ended.
 *
 * CPython keeps an interpreter's arenas when one object in them is left, and extension modules leave many: their C
 * statics hold them. No code can reach these objects once the interpreter is gone and its private copies are unloaded. So
 * this notes which owner each arena was allocated for. An owner is a number of ids.h, and is never used again.
 */
#pragma once

#include "base/atfork.h"

#include <stdint.h>

/* Watches CPython's arena allocator from now on; once is enough. `owner_function` returns the owner whose interpreter the
 * calling thread is in; 0: none. Needs the GIL of the main interpreter. */
void owngil_arena_tracking_start(uint64_t (*owner_function)(void));

/* Frees the arenas that the interpreter of `owner` has left. Needs no GIL. */
void owngil_arena_tracking_free(uint64_t owner);

void owngil_arena_tracking_atfork(owngil_atfork_step step);
