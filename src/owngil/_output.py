"""How output gets from a worker to the caller: its streams there, and what the dispatcher does with their messages."""

import contextlib
import io
import sys
from codecs import getincrementaldecoder
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from owngil import _core

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Output", "flush", "show", "text_output"]


class Output(io.BufferedIOBase):
    """The bytes under a worker's sys.stdout or sys.stderr; each write becomes a message to the dispatcher."""

    def __init__(self, replies: _core.Queue, kind: int, number: int, fd: int) -> None:
        self._replies = replies
        self._kind = kind
        self._number = number
        self._fd = fd
        self.name = "<stdout>" if fd == 1 else "<stderr>"
        self._decoder = getincrementaldecoder("utf-8")("surrogatepass")

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """Return the process's own descriptor: for child processes, whose output cannot come through here."""
        return self._fd

    def write(self, data: "ReadableBuffer", /) -> int:
        raw = bytes(data)
        try:
            text = self._decoder.decode(raw)
        except UnicodeDecodeError:
            self._decoder.reset()
            text = raw.decode("utf-8", "backslashreplace")
        if text:
            with contextlib.suppress(_core.QueueClosed):  # nobody listens any more
                self._replies.put(self._kind, self._number, (_core.Block(text.encode("utf-8", "surrogatepass")),))
        return len(raw)


def text_output(output: Output) -> io.TextIOWrapper:
    return io.TextIOWrapper(output, encoding="utf-8", errors="surrogatepass", newline="\n", line_buffering=True)


def flush() -> None:
    # A task may have put anything there, or closed it: that is no reason to lose its result.
    try:  # noqa: SIM105 - contextlib.suppress() would cost more than the flush
        sys.stdout.flush()
    except BaseException:
        pass
    try:  # noqa: SIM105
        sys.stderr.flush()
    except BaseException:
        pass


def show(stream: Any, parts: Iterable[Any]) -> None:
    """Write a worker's output to the caller's stream, whatever that is by now."""
    if stream is None:
        return
    text = b"".join(parts).decode("utf-8", "surrogatepass")
    with contextlib.suppress(Exception):  # a closed or full stream is no reason to lose results
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = getattr(stream, "encoding", None) or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
