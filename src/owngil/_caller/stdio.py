"""Shows at the caller what workers print.

A line that a worker has begun is its own until it is complete or the task has ended: what another worker writes
meanwhile starts a line of its own.
"""

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from owngil._wire.protocol import STDERR, STDOUT

__all__ = ["show"]


class _Line:
    """What a stream's last line is, as far as workers wrote it."""

    def __init__(self) -> None:
        self.stream: Callable[[], Any] = lambda: None  # weakly: one that was replaced may go
        self.worker: object = None  # whose line it is, if it is not complete
        self.is_held = False  # that worker may go on with it
        self.is_start = True  # what comes next is seen at a line's start


_lines = {STDOUT: _Line(), STDERR: _Line()}


def _arrange(line: _Line, worker: object, prefix: str, text: str) -> str:
    """Return `text` as it goes to the caller's stream: with prefixes, and on a line that is not another worker's."""
    begun = line.worker is not None and line.worker != worker and (line.is_held or bool(prefix))
    breaks = begun and text[0] != "\r"  # which writes over the line, as the progress bars of workers do with each other
    starts = line.is_start or breaks
    complete = text[-1] == "\n"
    line.worker = None if complete else worker
    line.is_held = not complete
    line.is_start = text[-1] in "\r\n"
    if prefix:
        last = "\r\n" if text.endswith("\r\n") else text[-1] if line.is_start else ""
        body = text[: len(text) - len(last)]
        # Also after a carriage return: what follows it is seen instead of what came before.
        body = body.replace("\n", f"\n{prefix}").replace("\r", f"\r{prefix}").replace(f"\r{prefix}\n", "\r\n")
        if starts and (body or complete) and not body.startswith("\r"):
            body = prefix + body
        text = body + last
    return "\n" + text if breaks else text


def show(kind: int, worker: object, prefix: str, parts: Iterable[Any]) -> None:
    """Write a worker's output to the caller's stream, whatever that is by now.

    Parameters
    ----------
    kind : int
        STDOUT or STDERR.
    worker : object
        Tells workers apart.
    prefix : str
        Stands before each line.
    parts : iterable of Block
        The text; none: the worker does not go on with the line that it has begun.
    """
    stream = sys.stdout if kind == STDOUT else sys.stderr
    if stream is None:
        return
    line = _lines[kind]
    if line.stream() is not stream:
        line = _lines[kind] = _Line()
        with contextlib.suppress(TypeError):  # then each message is taken for the first
            line.stream = weakref.ref(stream)
    raw = b"".join(parts)
    try:
        text = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # it was written as bytes
        text = raw.decode("utf-8", "backslashreplace")
    if not text:
        line.is_held = line.is_held and line.worker != worker
        return
    text = _arrange(line, worker, prefix, text)
    with contextlib.suppress(Exception):  # a closed or full stream is no reason to lose results
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = getattr(stream, "encoding", None) or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
