"""A worker's sys.stdout and sys.stderr: what is printed there goes to the caller.

A worker sends whole lines, when they are complete. It sends the beginning of a line when the line is flushed
explicitly, has a carriage return in it (progress bars), or the task ends.
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
        self.pending: list[bytes] = []  # of the current line, what was not sent
        self.is_open = False  # the beginning of the current line was sent

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
        """Send the rest of the current line, and that it will not be continued."""
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
    # With write_through, the stream keeps no text, and calls Output.flush() only for explicit flushes.
    stream = io.TextIOWrapper(output, encoding="utf-8", errors="surrogatepass", newline="\n", write_through=True)
    reconfigure = stream.reconfigure

    def checked(*, errors: str | None = None, newline: str | None = "\n", **_: object) -> None:
        """As TextIOWrapper.reconfigure, except for the encoding, in which text is sent to the caller."""
        reconfigure(errors=errors, newline=newline)

    stream.reconfigure = checked  # type: ignore[method-assign]
    return stream


_out_stream: io.TextIOWrapper  # referred to here, because a task may replace those of sys
_err_stream: io.TextIOWrapper
_out: Output
_err: Output


def is_stream(stream: object) -> bool:
    """Return whether owngil made this stream for the worker. A task may have replaced it in sys."""
    return stream is _out_stream or stream is _err_stream


def install() -> None:
    """Make the worker's sys.stdout and sys.stderr."""
    global _out, _err, _out_stream, _err_stream
    _out, _err = Output(STDOUT), Output(STDERR)
    sys.stdout = _out_stream = _text_output(_out)
    sys.stderr = _err_stream = _text_output(_err)


def flush() -> None:
    """Send what a task has left in the worker's streams."""
    # A task may have replaced the streams by anything, or closed them. An error of that must not lose its result.
    try:  # contextlib.suppress() would take longer than the rest of this function
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
