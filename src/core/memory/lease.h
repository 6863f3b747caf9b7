/* Leases: blocks whose memory is the buffer of an object of the main interpreter, such as an array, without a copy.
 *
 * The last reference to such a block may be released on any thread, with any GIL or none. But only the main interpreter
 * can give a buffer back, so the block goes into a list. A thread of the main interpreter that calls
 * owngil_lease_collect() gives back all buffers in the list. If none does within a millisecond, the lease thread does.
 */
#pragma once

#include "base/atfork.h"
#include "base/compat.h"
#include "memory/block.h"

/* Returns a block of the object's contiguous buffer, which the object leaves in place until the last reference is
 * released; or NULL with an exception. Needs the GIL of the main interpreter. */
owngil_block *owngil_lease_new(PyObject *object);

/* Gives back the buffers without references, if the caller has the main interpreter's GIL. Needs a GIL. May run Python
 * code. Costs nothing when there are none. */
void owngil_lease_collect(void);

/* Ends the lease thread when the main interpreter exits. Buffers that are still lent then stay. Call without a GIL. */
void owngil_lease_end(void);

/* The child of a fork has no lease thread, and starts one when it lends. */
void owngil_lease_atfork(owngil_atfork_step step);
