"""The kinds of messages between a dispatcher and its workers. The core numbers them, in messaging/kinds.h.

To the workers, with the task's id:  CALL; and END, after which the worker ends.
From them, with the task's id:       RESULT, ERROR.
From them, with the worker's number: READY, the reports STDOUT, STDERR, LOG, WARNING;
                                     and from the core EXITED, FAILED, KEPT, STUCK, STUCK_START.
                                     BLOCKED, UNBLOCKED: it waits for tasks of a pool that was handed to it, or no more.
From the dispatcher to itself:       WAKE.

Between a dispatcher and the clients of a pool that was handed over, see `_lending`:
From a client, with its number:      JOIN (with its queue), LEAVE; with a task's id, or 0: INTERRUPT; with 0: NEED.
To a client, with the task's id:     RESULT, ERROR; with 0: BROKEN, CANCEL, ENDED.
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
