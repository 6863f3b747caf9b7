"""Sends a worker's reports, such as printed text: each report is a message to its dispatcher.

The dispatcher delivers a report before the result of the task. `stdio`, `logging` and `warnings` decide what is sent,
and when.
"""

import contextlib

from owngil import _core, _wire

__all__ = ["callers_level", "connect", "go_to", "send"]

worker_name = ""
_replies: _core.Queue
_number = 0
callers_level: _core.Counter | None = None  # the lowest level that any logger at the caller takes; None: not known


def connect(name: str, replies: _core.Queue, number: int) -> None:
    """Let this worker's reports go to `replies`."""
    global worker_name, _replies, _number
    worker_name = name
    _replies = replies
    _number = number


def send(kind: int, parts: _wire.Parts) -> None:
    """Report to the dispatcher."""
    with contextlib.suppress(_core.QueueClosed):  # the dispatcher has ended
        _replies.put(kind, _number, parts)


def go_to(replies: _core.Queue) -> bool:
    """Whether this worker's reports go to that queue."""
    return _replies == replies
