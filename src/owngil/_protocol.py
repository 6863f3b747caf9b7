"""The kinds of messages between a dispatcher and its workers.

To the workers, with the task's id:  CALL.
From them, with the task's id:       RESULT, ERROR.
From them, with the worker's number: READY, the reports STDOUT, STDERR, LOG, WARNING;
                                     and from the core EXITED, FAILED, KEPT, STUCK.
From the dispatcher to itself:       WAKE.
"""

from owngil._core import EXITED, FAILED, KEPT, RESULT, STUCK

__all__ = [
    "CALL",
    "ERROR",
    "EXITED",
    "FAILED",
    "KEPT",
    "LOG",
    "READY",
    "RESULT",
    "STDERR",
    "STDOUT",
    "STUCK",
    "WAKE",
    "WARNING",
]

CALL = 16
ERROR = 18
READY = 19
STDOUT = 20
STDERR = 21
WAKE = 22
LOG = 24
WARNING = 25
