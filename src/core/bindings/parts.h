/* The parts of a message as a tuple of Python objects. All functions need the GIL. */
#pragma once

#include "bindings/wrapper.h"
#include "messaging/message.h"

/* Returns a new message of the Blocks, handles and bytes (which are copied) in the tuple `parts`, or NULL with the
 * exception set. */
owngil_message *owngil_parts_to_message(owngil_state *state, int kind, uint64_t id, PyObject *parts);

/* Returns a new wrapper of a part, which has a reference of its own, or NULL with the exception set. The receiver may
 * write to a block if `writable`. */
PyObject *owngil_parts_wrap(owngil_state *state, owngil_refcounted *part, bool writable);

/* Returns the parts of a message, which keeps its references, as a new tuple of such wrappers, or NULL with the
 * exception set. */
PyObject *owngil_parts_from_message(owngil_state *state, const owngil_message *message, bool writable);
