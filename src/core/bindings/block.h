/* Blocks as wrappers. */
#pragma once

#include "bindings/wrapper.h"

/* Returns a block that the interpreter `state` belongs to may read, and write if `writable`; takes over the reference to
 * `shared`, even when it fails. Needs the GIL. */
PyObject *owngil_block_wrap(owngil_state *state, owngil_refcounted *shared, bool writable);
