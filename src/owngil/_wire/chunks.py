"""How pickles with large `bytes` or `bytearray` in them travel: in chunks, so that these are copied only once.

CPython's pickler hands what is larger than its frames to the file's write() as it is. `Chunks` keeps a reference. Each
large chunk becomes a block of its own, as buffers do (main lends it), and the unpickler reads the blocks one after the
other: from a large one straight into the new object.

On the wire the chunks are ordinary buffers of a small pickle, which says how many they are; see `_wire`.
"""

import pickle
from collections.abc import Buffer, Iterable
from typing import Any

from owngil._core import Block

__all__ = ["LARGE", "Chunks"]

# From this size on, copying costs more than a block. No frame is as large: pickle's take an object more than 64 KiB.
LARGE = 1 << 17


class Chunks:
    """A file for a pickler to write to."""

    __slots__ = ("_chunks",)

    def __init__(self) -> None:
        self._chunks: list[bytes | memoryview] = []

    def write(self, data: Buffer) -> None:
        # A bytearray must not be resized from here on: its length is in the pickle already.
        self._chunks.append(data if type(data) is bytes else memoryview(data))

    def clear(self) -> None:
        """Let go of what was written."""
        self._chunks.clear()

    def pack(self, buffers: list[pickle.PickleBuffer]) -> tuple[bytes, list[Any]]:
        """Return the pickle to send and the buffers that go with it, given those of the pickle written here."""
        chunks = self._chunks
        if len(chunks) == 1 and len(chunks[0]) < LARGE:
            return bytes(chunks[0]), buffers
        joined: list[Any] = []
        first = 0
        for k, chunk in enumerate(chunks):
            if len(chunk) >= LARGE:
                joined += b"".join(chunks[first:k]), chunk
                first = k + 1
        joined.append(b"".join(chunks[first:]))
        if len(joined) == 1:
            return joined[0], buffers
        return pickle.dumps(_Packed(len(joined), len(buffers)), 5, buffer_callback=lambda _: None), [*joined, *buffers]


class _Packed:
    """Pickles as a call of `_unpack` with so many chunks and buffers, which the receiver takes from the message."""

    def __init__(self, *counts: int) -> None:
        self._counts = counts

    def __reduce__(self) -> Any:
        return _unpack, tuple([pickle.PickleBuffer(bytearray()) for _ in range(count)] for count in self._counts)


def _unpack(chunks: list[Block], buffers: list[Block]) -> Any:
    return pickle.Unpickler(_Reader(chunks), buffers=buffers).load()


class _Reader:
    """A file for an unpickler to read from."""

    def __init__(self, chunks: Iterable[Block]) -> None:
        self._rest = iter(chunks)
        self._chunk: Block | None = None
        self._place = 0  # in the chunk

    def _next(self) -> bool:
        self._chunk = next(self._rest, None)
        self._place = 0
        return self._chunk is not None

    def readinto(self, target: Buffer) -> int:
        view = memoryview(target)
        done = 0
        while done < len(view) and (self._chunk is not None or self._next()):
            assert self._chunk is not None
            count = self._chunk.copy_to(self._place, view[done:])
            self._place += count
            done += count
            if done < len(view):
                self._chunk = None
        return done

    def read(self, size: int) -> bytes:
        if self._chunk is None or self._place == len(self._chunk):
            self._next()
        if self._chunk is not None and size <= len(self._chunk) - self._place:
            start = self._place
            self._place += size
            with memoryview(self._chunk) as view:
                return bytes(view[start : self._place])
        data = bytearray(size)
        return bytes(data[: self.readinto(data)])

    def readline(self) -> bytes:
        """Return the rest of a line; protocol 5 has none, but unpicklers ask for the method."""
        line = bytearray()
        while not line.endswith(b"\n") and (byte := self.read(1)):
            line += byte
        return bytes(line)
