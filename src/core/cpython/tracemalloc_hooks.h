/* Lets tracemalloc see the main interpreter's memory only.
 *
 * tracemalloc has one table for the process, with str objects of the interpreter that allocated. If it traced a worker,
 * main would change the reference counts of the worker's objects, and read them after the worker has ended. So owngil
 * puts these hooks before those of tracemalloc: it does not see what another interpreter allocates.
 */
#pragma once

#include "base/compat.h"

/* Puts a hook before the allocator that needs no GIL, once, while no other interpreter exists: later, tracemalloc can
 * put its own there while other threads allocate. Needs the GIL of the main interpreter. */
void owngil_tracemalloc_hooks_prepare(void);

/* Puts the hooks before tracemalloc's, which must be tracing, unless they are there. No other interpreter may run.
 * Returns 0, or -1 if what is there is not tracemalloc. Needs the GIL of the main interpreter. */
int owngil_tracemalloc_hooks_install(void);

/* Leaves out what the calling thread allocates without a thread state, because it makes or ends an interpreter. */
void owngil_tracemalloc_hooks_leave_out(bool leaves_out);

static inline bool
owngil_tracemalloc_hooks_is_tracing(void)
{
    return PyTraceMalloc_Untrack(0, 0) != -2;
}
