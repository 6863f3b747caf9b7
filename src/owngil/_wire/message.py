"""Turns objects into the parts of messages, and back: pickle 5, or cloudpickle for what cannot be imported.

The parts of a message are: first the pickle (for plain values, a shorter form by marshal); then a block for each buffer
that the pickle refers to, in order; then the handles that it refers to, in order. Handles are objects of the core that
belong to the process, such as the queues of channels. They are not pickled: the receiver's unpickler takes them from
the message by number.
"""

import marshal
import pickle
import sys
from collections.abc import Callable
from importlib import import_module
from time import monotonic_ns
from typing import Any

from owngil._core import Block, Queue, check_sendable, dumps_plain, dumps_plain_call, wrote_call
from owngil._wire.advice import culprit_of
from owngil._wire.arrays import block_of
from owngil._wire.chunks import Chunks
from owngil._wire.interrupts import is_interrupt
from owngil._wire.naming import describe_callable
from owngil._wire.pickler import Handle, Pickler, loading

__all__ = [
    "Failure",
    "Parts",
    "Saved",
    "SavedCall",
    "copy_arguments",
    "dumps",
    "dumps_call",
    "dumps_result",
    "loads",
    "loads_call",
]

type Parts = tuple[Block | Handle | bytes, ...]
# A worker's exception: the name of its type, its text, its traceback as text, itself; or None, and the reason.
type Failure = tuple[str, str, str, Saved | None, str]


def _cloudpickler() -> Any:
    """Return the module with the picklers. It imports cloudpickle, which imports many modules."""
    from owngil._wire import cloudpickler

    return cloudpickler


_NO_RESOURCES = (MemoryError, BlockingIOError)  # no memory, and no thread that lends: they say nothing about the object

# The first byte of every pickle. What marshal writes begins with other bytes.
_PICKLE_MARK = 0x80


def _explain(error: Exception, obj: object, what: str) -> Exception:
    """Return an error that names the object which could not be pickled, and what it belongs to."""
    tracer = _cloudpickler().Tracer(Chunks())
    try:
        tracer.dump(obj)
    except Exception as again:
        if is_interrupt(again):
            raise
        trail = tracer.trail
    else:  # the second time, pickling did not fail
        trail = []
    culprit, advice = culprit_of(trail)
    kind = TypeError if type(error) is TypeError else pickle.PicklingError
    return kind(f"{what}: {culprit} cannot be pickled: {error}{advice}")


def _pickle(pickler_type: Any, obj: object) -> Parts:
    chunks = Chunks()
    pickler = pickler_type(chunks)
    try:
        pickler.dump(obj)
    except BaseException:
        # Drop the buffers: a traceback that the caller keeps refers to the pickler, and would keep them exported.
        chunks.clear()
        pickler.buffers.clear()
        raise
    stream, buffers = chunks.pack(pickler.buffers)
    return (stream, *map(block_of, buffers), *pickler.handles)


def _pickle_plainly(obj: object) -> Parts | None:
    """Return the parts, or None if that needs cloudpickle or is impossible."""
    try:
        return _pickle(Pickler, obj)
    except _NO_RESOURCES:
        raise
    except Exception as error:
        if is_interrupt(error):
            raise
        return None


def dumps(obj: object, what: str) -> Parts:
    """Turn `obj` into the parts of a message.

    The main interpreter lends its buffers: the receiver reads them where they are. A worker may end before the receiver
    has read its buffers: so it hands over the memory of its NumPy arrays, and other buffers are copied once.

    Parameters
    ----------
    obj : object
        Anything picklable; channels too.
    what : str
        The beginning of the error message: what cannot be done with `obj`.

    Raises
    ------
    TypeError, pickle.PicklingError
        If something in `obj` cannot be pickled.
    """
    plain = dumps_plain(obj)
    if plain is not None:
        return (plain,)
    parts = _pickle_plainly(obj)
    if parts is None:
        try:
            parts = _pickle(_cloudpickler().Pickler, obj)
        except _NO_RESOURCES:
            raise
        except Exception as error:
            if is_interrupt(error):
                raise
            raise _explain(error, obj, what) from error
    return parts


def dumps_call(
    fn: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object], named: object = None
) -> Parts:
    """Turn a call into the parts of a message; see `dumps`. An error message names `named` in place of `fn`."""
    plain = None if kwargs else dumps_plain_call(fn, args)
    if plain is not None:
        return (plain,)
    since = monotonic_ns()
    called = fn if named is None else named
    check_sendable(called)
    parts = dumps((fn, args, kwargs), f"{describe_callable(called)} cannot be sent to a worker")
    wrote_call(since)
    return parts


def dumps_result(result: object, fn: Callable[..., object]) -> Parts:
    """Turn what `fn` returned into the parts of a message; see `dumps`."""
    plain = dumps_plain(result)
    if plain is not None:
        return (plain,)
    return dumps(result, f"the result of {describe_callable(fn)} cannot be sent back")


def loads(parts: Parts, replies: Queue | None = None) -> Any:
    """Rebuild the object that `dumps` took apart. Its buffers are the memory of the blocks in `parts`.

    The time for unpickling is added to that spent on `replies`, the queue that the message came from.
    """
    stream = parts[0]
    if type(stream) is bytes and stream[0] != _PICKLE_MARK:
        return marshal.loads(stream)
    since = monotonic_ns()
    rest = parts[1:]
    try:
        return _unpickle(stream, [p for p in rest if type(p) is Block], [p for p in rest if type(p) is not Block])
    finally:
        if replies is not None:
            replies.spend(since)


def _unpickle(stream: Any, buffers: list[Any], handles: list[Any]) -> Any:
    outer = getattr(loading, "handles", None)
    loading.handles = handles
    try:
        return pickle.loads(stream, buffers=buffers)
    finally:
        loading.handles = outer


def loads_call(parts: Parts) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Rebuild the call that `dumps_call` took apart: a function, arguments and keyword arguments."""
    return _found(loads(_copied(parts) if _copies else parts))


_copies = False  # whether buffers of calls are copied here


def copy_arguments() -> None:
    """Let calls that this interpreter rebuilds have copies of their buffers, which may be written to."""
    global _copies
    _copies = True


def _copied(parts: Parts) -> Parts:
    return tuple(part.copy() if type(part) is Block and not part.shared else part for part in parts)


def _found(call: tuple[Any, Any, Any]) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return the function, the arguments and the keyword arguments of a call; the function may be named only."""
    if type(call[0]) is not str:
        fn, args, kwargs = call
        return fn, args, kwargs
    name, function, args = call
    module = sys.modules.get(name) or import_module(name)
    return getattr(module, function), args, {}


class Saved:
    """An object that was taken apart once, and can be sent and rebuilt many times."""

    __slots__ = ("_buffers", "_handles", "_stream")

    def __init__(self, parts: Parts) -> None:
        self._stream: Any = parts[0]
        self._buffers: list[Any] = [part for part in parts[1:] if type(part) is Block]
        self._handles: list[Any] = [part for part in parts[1:] if type(part) is not Block]

    def __getstate__(self) -> tuple[Any, list[pickle.PickleBuffer], list[Any]]:
        stream = self._stream if type(self._stream) is bytes else pickle.PickleBuffer(self._stream)
        return stream, list(map(pickle.PickleBuffer, self._buffers)), self._handles

    def __setstate__(self, state: tuple[Any, list[Any], list[Any]]) -> None:
        self._stream, self._buffers, self._handles = state

    def load(self) -> Any:
        """Return the object."""
        if type(self._stream) is bytes and self._stream[0] != _PICKLE_MARK:
            return marshal.loads(self._stream)
        return _unpickle(self._stream, self._buffers, self._handles)


class SavedCall(Saved):
    """A call that was taken apart once."""

    __slots__ = ()

    def load(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Return the function, the arguments and the keyword arguments."""
        return _found(super().load())
