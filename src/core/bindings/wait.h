/* Waits without the GIL, which signal handlers and Worker.interrupt() can end before their deadline. */
#pragma once

#include "base/compat.h"
#include "messaging/queue.h"

/* Evaluates `call` without the GIL and assigns its status to `code`; while that is INTERRUPTED, runs the signal
 * handlers and evaluates `call` again. Sets `failed` to 0 if `code` stands, or to -1 with the exception set that a
 * signal handler or Worker.interrupt() raised. Needs the GIL.
 *
 * If the exception comes when the wait is over, OWNGIL_WAIT keeps what the wait brought: the exception is raised after
 * the caller has returned. OWNGIL_WAIT_TO_UNDO fails at once: it is for a caller that can undo what the wait
 * brought. */
#define OWNGIL_WAIT(failed, code, call) OWNGIL_WAIT_IN_ROUNDS(failed, code, call, false)
#define OWNGIL_WAIT_TO_UNDO(failed, code, call) OWNGIL_WAIT_IN_ROUNDS(failed, code, call, true)

/* clang-format off */
#define OWNGIL_WAIT_IN_ROUNDS(failed, code, call, undoes) \
    do { \
        owngil_wait_begin(); \
        Py_BEGIN_ALLOW_THREADS \
        (code) = (call); \
        Py_END_ALLOW_THREADS \
        (failed) = owngil_wait_end(code, undoes); \
    } while ((failed) > 0)
/* clang-format on */

/* Begin and end a round of the macros above. end() returns what they set `failed` to; 1: another round must follow. */
void owngil_wait_begin(void);
int owngil_wait_end(owngil_status code, bool undoes);

/* Waits for a message for the receiver with that number (0: it has none). Needs the GIL, and releases it only to wait.
 * Returns the message, with a reference that the caller owns; or NULL with the exception set: `closed`, TimeoutError,
 * or that of an interrupt. */
owngil_message *owngil_wait_for_message(owngil_queue *queue, uint64_t receiver, owngil_deadline deadline,
                                        PyObject *closed);
