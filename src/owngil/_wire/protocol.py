"""The kinds of messages between a dispatcher, its workers, and the clients of a pool that was handed over.

A message has a kind, a number and parts. The core numbers the kinds, in messaging/kinds.h. What the number is depends
on the kind. START is no kind, but the task number that stands for a worker's start.

To a worker
    CALL (task number)              call a function
    END                             end now
From a worker
    RESULT, ERROR (task number)     what the call returned or raised
    READY (worker number)           the worker has started
    STDOUT, STDERR, LOG, WARNING (worker number)
                                    reports: printed text, a log record, a warning
    BLOCKED, UNBLOCKED (worker number)
                                    the worker waits for tasks of a pool that was handed to it, or does not any more
From the core, for a worker
    EXITED (worker number)          its interpreter has ended: its last message
    KEPT (worker number)            in place of EXITED: its threads keep the interpreter alive until the process exits
    FAILED (worker number)          it could not start, or prepare; with the reason
    STUCK, STUCK_START (worker number)
                                    its task, or its start, has not noticed an interrupt; with the stack
From a dispatcher to itself
    WAKE                            see what has changed
From a client, see `clients`
    JOIN (client number)            send answers to this queue
    LEAVE (client number)           no more
    NEED                            a task waits: a worker may be wanted
    INTERRUPT (task number)         interrupt that task, or with 0 all
To a client
    RESULT, ERROR (task number)     answers to its tasks
    BROKEN                          the pool is broken; with the reason
    CANCEL                          cancel what waits
    ENDED                           no more answers will come
"""

from owngil._core import (
    BLOCKED,
    BROKEN,
    CALL,
    CANCEL,
    END,
    ENDED,
    ERROR,
    EXITED,
    FAILED,
    INTERRUPT,
    JOIN,
    KEPT,
    LEAVE,
    LOG,
    NEED,
    READY,
    RESULT,
    START,
    STDERR,
    STDOUT,
    STUCK,
    STUCK_START,
    UNBLOCKED,
    WAKE,
    WARNING,
)

__all__ = [
    "BLOCKED",
    "BROKEN",
    "CALL",
    "CANCEL",
    "END",
    "ENDED",
    "ERROR",
    "EXITED",
    "FAILED",
    "GRACE",
    "INTERRUPT",
    "JOIN",
    "KEPT",
    "LEAVE",
    "LOG",
    "NEED",
    "READY",
    "RESULT",
    "START",
    "STDERR",
    "STDOUT",
    "STUCK",
    "STUCK_START",
    "UNBLOCKED",
    "WAKE",
    "WARNING",
]

#: Seconds after the interrupt of a task, or of a worker's start, until it is said on stderr that it is still running.
GRACE = 2.5
