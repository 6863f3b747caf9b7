/* Gives back the memory for small objects when a worker has ended.
 *
 * CPython keeps an interpreter's arenas when one object in them is left, and extension modules leave many: their C
 * statics hold them. Nobody can reach these objects once the interpreter is gone and its private copies are unloaded.
 */
#ifndef OWNGIL_ARENAS_H
#define OWNGIL_ARENAS_H

#include "base/atfork.h"
struct owngil_worker;

/* Watches CPython's arena allocator from now on; once is enough. Needs the GIL of the main interpreter. */
void owngil_arenas_watch(void);

/* Frees the arenas that the interpreter of `worker` has left. Needs no GIL. */
void owngil_arenas_free(const struct owngil_worker *worker);

/* See fork.h. */
void owngil_arenas_fork(owngil_fork_step step);

#endif
