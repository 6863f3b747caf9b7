/* Waiting with a GIL: how a wait lets go of it, and what ends a wait besides its deadline. */
#pragma once

#include "base/compat.h"
#include "messaging/queue.h"

/* Around every round of a wait, in this order: begin (GIL held), the wait (GIL released), end (GIL held).
 *
 * `end` turns the wait's code into what happens in Python: 0 when the code stands, 1 when the wait must be repeated, -1 with
 * the exception set that a signal handler or Worker.interrupt() raised. If the wait was over by then, the exception is raised
 * after the caller has returned; or at once, if the caller can undo what the wait brought. */
void owngil_wait_begin(void);
int owngil_wait_end(owngil_status code);
int owngil_wait_end_to_undo(owngil_status code);

/* Waits for a message, the caller's then, in the calling interpreter, for the receiver of that number (0: it has none). Needs
 * the GIL, and lets go of it if it must wait. Returns 0, or -1 with the exception set: `closed`, TimeoutError, or that of an
 * interrupt. */
int owngil_wait_for_message(owngil_queue *queue, uint64_t receiver, owngil_message **message, owngil_deadline deadline,
                            PyObject *closed);
