/* The wrapper of a block. */
#pragma once

#include "bindings/wrapper.h"

/* Returns a new wrapper of the block `shared` (a kind of owngil_wrap()), whose interpreter may write to the block if
 * `writable` or if every interpreter may. Needs the GIL. */
PyObject *owngil_block_wrap(owngil_state *state, owngil_refcounted *shared, bool writable);
