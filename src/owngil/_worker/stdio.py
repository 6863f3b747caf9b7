"""A worker's sys.stdout and sys.stderr: what is printed there goes to the caller.

A worker sends whole lines, as they are complete. The beginning of a line goes when it is flushed explicitly, when a
carriage return is in it (progress bars), and when the task ends. Such a line is its worker's until it is complete or
the task has ended: what another worker writes meanwhile starts a line of its own.
"""

import io
import sys
from typing import TYPE_CHECKING

from owngil import _core
from owngil._wire.protocol import STDERR, STDOUT
from owngil._worker.reports import send

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Output", "flush", "install", "is_stream"]


class Output(io.BufferedIOBase):
    """The bytes under a worker's sys.stdout or sys.stderr; each line becomes a message to the dispatcher."""

    __slots__ = ("_kind", "is_open", "name", "pending")

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self.name = "<stdout>" if kind == STDOUT else "<stderr>"
        self.pending: list[bytes] = []  # what there is of the current line, and is not sent
        self.is_open = False  # the beginning of a line was sent

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """Return the process's own descriptor: for child processes, whose output cannot come through here."""
        return 1 if self._kind == STDOUT else 2

    def write(self, data: "ReadableBuffer", /) -> int:
        raw = bytes(data)
        end = raw.rfind(b"\n") + 1
        if b"\r" in raw[end:]:
            end = len(raw)
        if end == 0:
            if raw:
                self.pending.append(raw)
            return len(raw)
        pending = self.pending
        self.pending = [raw[end:]] if end < len(raw) else []
        pending.append(raw[:end])
        self._send(b"".join(pending))
        return len(raw)

    def flush(self) -> None:
        """Send the beginning of a line."""
        if self.pending:
            text = b"".join(self.pending)
            end = len(text) - _count_incomplete(text)
            self.pending = [text[end:]] if end < len(text) else []
            self._send(text[:end])

    def end_line(self) -> None:
        """Send what there is of a line, and that nobody will go on with it."""
        pending = self.pending
        self.pending = []
        self._send(b"".join(pending))
        if self.is_open:
            self.is_open = False
            send(self._kind, ())

    def _send(self, text: bytes) -> None:
        if text:
            self.is_open = text[-1] != 0x0A
            send(self._kind, (_core.Block(text),))


def _count_incomplete(text: bytes) -> int:
    """Return how many bytes at the end are the beginning of a character in UTF-8."""
    for count in range(1, min(len(text), 3) + 1):
        byte = text[-count]
        if byte >= 0xC0:
            return count if count < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) else 0
        if byte < 0x80:
            break
    return 0


def _text_output(output: Output) -> io.TextIOWrapper:
    # Writing through, so that nothing is left here when a task ends, and only explicit flushes get to the output.
    stream = io.TextIOWrapper(output, encoding="utf-8", errors="surrogatepass", newline="\n", write_through=True)
    reconfigure = stream.reconfigure

    def checked(*, errors: str | None = None, newline: str | None = "\n", **_: object) -> None:
        """As TextIOWrapper.reconfigure, but for how text gets to the caller."""
        reconfigure(errors=errors, newline=newline)

    stream.reconfigure = checked  # type: ignore[method-assign]
    return stream


_out_stream: io.TextIOWrapper  # a task may put others into sys, and let go of these
_err_stream: io.TextIOWrapper
_out: Output
_err: Output


def is_stream(stream: object) -> bool:
    """Whether this is one of the worker's own streams, which are in sys unless a task has put others there."""
    return stream is _out_stream or stream is _err_stream


def install() -> None:
    """Make the worker's sys.stdout and sys.stderr."""
    global _out, _err, _out_stream, _err_stream
    _out, _err = Output(STDOUT), Output(STDERR)
    sys.stdout = _out_stream = _text_output(_out)
    sys.stderr = _err_stream = _text_output(_err)


def flush() -> None:
    """Send what a task has left in the worker's streams."""
    # A task may have put anything there, or closed it: that is no reason to lose its result.
    try:  # contextlib.suppress() would cost more than all the rest
        if sys.stdout is not _out_stream:
            sys.stdout.flush()
    except BaseException:
        pass
    try:
        if sys.stderr is not _err_stream:
            sys.stderr.flush()
    except BaseException:
        pass
    if _out.pending or _out.is_open:
        _out.end_line()
    if _err.pending or _err.is_open:
        _err.end_line()
