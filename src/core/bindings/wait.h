/* Waiting with a GIL: how a wait lets go of it, and what ends a wait besides its deadline. */
#ifndef OWNGIL_BINDINGS_WAIT_H
#define OWNGIL_BINDINGS_WAIT_H

#include "base/compat.h"
#include "sync/waiter.h"

/* Around every round of a wait, in this order: begin (GIL held), the wait (GIL released), end (GIL held).
 *
 * `end` turns the wait's code into what happens in Python: 0 when the code stands, 1 when the wait must be repeated, -1 with
 * the exception set that a signal handler or Worker.interrupt() raised. If the wait was over by then, the exception is raised
 * after the caller has returned; or at once, if the caller can undo what the wait brought. */
void owngil_wait_begin(void);
int owngil_wait_end(owngil_status code);
int owngil_wait_end_to_undo(owngil_status code);

#endif
