/* Waiting for a message. */
#ifndef OWNGIL_BINDINGS_QUEUE_H
#define OWNGIL_BINDINGS_QUEUE_H

#include "bindings/wrapper.h"
#include "messaging/queue.h"

/* Waits for a message, the caller's then, in the calling interpreter, for the receiver of that number (0: it has none). Needs
 * the GIL, and lets go of it if it must wait. Returns 0, or -1 with the exception set: `closed`, TimeoutError, or that of an
 * interrupt. */
int owngil_queue_wait(owngil_queue *queue, uint64_t receiver, owngil_message **message, owngil_deadline deadline,
                      PyObject *closed);

#endif
