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
    """The last line of a stream, as far as workers have written it."""

    def __init__(self) -> None:
        self.stream: Callable[[], Any] = lambda: None  # a weak reference: a stream that was replaced can be deleted
        self.worker: object = None  # that has written an incomplete line
        self.is_held = False  # that worker may continue the line
        self.is_start = True  # the next text will be shown at the start of a line


_lines = {STDOUT: _Line(), STDERR: _Line()}


def _arrange(line: _Line, worker: object, prefix: str, text: str) -> str:
    """Return `text` for the caller's stream: with prefixes, and on a new line if another worker's is not complete."""
    begun = line.worker is not None and line.worker != worker and (line.is_held or bool(prefix))
    breaks = begun and text[0] != "\r"  # a carriage return writes over the line, as progress bars do
    starts = line.is_start or breaks
    complete = text[-1] == "\n"
    line.worker = None if complete else worker
    line.is_held = not complete
    line.is_start = text[-1] in "\r\n"
    if prefix:
        last = "\r\n" if text.endswith("\r\n") else text[-1] if line.is_start else ""
        body = text[: len(text) - len(last)]
        # A carriage return starts the line again, so a prefix follows it, too.
        body = body.replace("\n", f"\n{prefix}").replace("\r", f"\r{prefix}").replace(f"\r{prefix}\n", "\r\n")
        if starts and (body or complete) and not body.startswith("\r"):
            body = prefix + body
        text = body + last
    return "\n" + text if breaks else text


def show(kind: int, worker: object, prefix: str, parts: Iterable[Any]) -> None:
    """Write a worker's output to the current sys.stdout or sys.stderr of the caller.

    Parameters
    ----------
    kind : int
        STDOUT or STDERR.
    worker : object
        Identifies the worker.
    prefix : str
        Stands before each line.
    parts : iterable of Block
        The text. If there is none, the worker does not continue the line that it has begun.
    """
    stream = sys.stdout if kind == STDOUT else sys.stderr
    if stream is None:
        return
    line = _lines[kind]
    if line.stream() is not stream:
        line = _lines[kind] = _Line()
        with contextlib.suppress(TypeError):  # then each message is treated as the stream's first
            line.stream = weakref.ref(stream)
    raw = b"".join(parts)
    try:
        text = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # the task has written bytes
        text = raw.decode("utf-8", "backslashreplace")
    if not text:
        line.is_held = line.is_held and line.worker != worker
        return
    text = _arrange(line, worker, prefix, text)
    with contextlib.suppress(Exception):  # an error of the stream must not lose results
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = getattr(stream, "encoding", None) or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
