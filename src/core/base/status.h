/* What the functions that run without a GIL return; bindings/raise.h turns it into exceptions. */
#pragma once

typedef enum {
    OWNGIL_OK = 0,
    OWNGIL_CLOSED,      /* the queue is closed (and, for a receiver, empty) */
    OWNGIL_TIMEOUT,     /* the deadline passed */
    OWNGIL_BROKEN,      /* the barrier is broken */
    OWNGIL_INTERRUPTED, /* a signal arrived: run the handlers, then wait again */
    OWNGIL_NO_MEMORY,
    OWNGIL_INHERITED,   /* the object was made before this process was forked */
} owngil_status;
