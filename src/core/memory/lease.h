/* Memory that the main interpreter lends: blocks that are the buffers of its objects, without a copy.
 *
 * The last reference to such a block may go on any thread, with any GIL or none. The buffer can be given back in the main
 * interpreter only, so it is put into a list: whoever runs there and comes by gives back what is in it, and if nobody
 * does within a millisecond, a thread of the process's own does.
 */
#pragma once

#include "base/atfork.h"
#include "base/compat.h"
#include "memory/block.h"

/* Returns a block of the object's contiguous buffer, which the object keeps as it is until the last reference is gone; or
 * NULL with an exception. Needs the GIL of the main interpreter. */
owngil_block *owngil_lease_new(PyObject *object);

/* Gives back what nobody refers to any more; costs nothing if there is nothing. Needs a GIL, and does nothing unless it is
 * the main interpreter's. May run Python code. */
void owngil_lease_collect(void);

/* Ends the thread; for the main interpreter's exit. What is still lent then stays. Call without a GIL. */
void owngil_lease_end(void);

/* See fork.h: the child has no thread, and starts one when it lends. */
void owngil_lease_atfork(owngil_atfork_step step);
