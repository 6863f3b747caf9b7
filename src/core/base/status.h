/* Return codes of the functions that run without a GIL, and the one place that turns them into exceptions. */
#ifndef OWNGIL_ERRORS_H
#define OWNGIL_ERRORS_H

#include "base/compat.h"

typedef enum {
    OWNGIL_OK = 0,
    OWNGIL_CLOSED,      /* the queue is closed (and, for a receiver, empty) */
    OWNGIL_TIMEOUT,     /* the deadline passed */
    OWNGIL_BROKEN,      /* the barrier is broken */
    OWNGIL_INTERRUPTED, /* a signal arrived: run the handlers, then wait again */
    OWNGIL_NO_MEMORY,
    OWNGIL_FOREIGN,     /* it was made before the process was forked */
} owngil_code;

/* Sets the exception for `code`, which is neither OK nor INTERRUPTED. Returns NULL. Needs the GIL.
 * `closed` is the exception class for OWNGIL_CLOSED (borrowed). */
PyObject *owngil_errors_raise(owngil_code code, PyObject *closed);

#endif
