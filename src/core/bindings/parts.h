/* The parts of a message as a tuple of Python objects. All needs the GIL. */
#pragma once

#include "bindings/wrapper.h"
#include "messaging/message.h"

/* Returns a message of the Blocks, handles and bytes in the tuple `parts`, or NULL with the exception set. */
owngil_message *owngil_parts_to_message(owngil_state *state, int kind, uint64_t id, PyObject *parts);

/* Returns the parts as a new tuple of wrappers, or NULL with the exception set; the message keeps its own references. The
 * receiver may write to the blocks if `writable`. */
PyObject *owngil_parts_from_message(owngil_state *state, const owngil_message *message, bool writable);
