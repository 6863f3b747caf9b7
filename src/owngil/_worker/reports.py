"""Sends what a worker reports beside results: each report is a message to its dispatcher.

The dispatcher deals with a report before the result of the task. What is sent, and when, is for `stdio`, `logging` and
`warnings` to say.
"""

import contextlib

from owngil import _core, _wire

__all__ = ["begin", "callers_level", "go_to", "send"]

worker_name = ""
_replies: _core.Queue
_number = 0
callers_level: _core.Counter | None = None  # below it, no logger of the caller's takes a record; None: not known yet


def begin(name: str, replies: _core.Queue, number: int) -> None:
    """Let this worker's reports go to `replies`."""
    global worker_name, _replies, _number
    worker_name = name
    _replies = replies
    _number = number


def send(kind: int, parts: _wire.Parts) -> None:
    """Report to the dispatcher."""
    with contextlib.suppress(_core.QueueClosed):  # nobody listens any more
        _replies.put(kind, _number, parts)


def go_to(replies: _core.Queue) -> bool:
    """Whether this worker's reports go to that queue."""
    return _replies == replies
