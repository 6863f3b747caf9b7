"""How objects travel between interpreters: pickle 5, cloudpickle for what cannot be imported, buffers beside it.

An object becomes the parts of a message: a block with the pickle; a block for each buffer that the pickle refers to,
in order; and the handles that it refers to, in order: objects of the core that belong to the process, such as queues (the
cores of channels). They cannot be pickled, so they are handed over as what they are, and the receiver's unpickler asks for
them by number.
"""

import pickle
import threading
from collections.abc import Callable
from typing import Any

from owngil._arrays import block_of
from owngil._chunks import LARGE, Chunks
from owngil._core import Block, Queue

__all__ = ["Parts", "describe_callable", "dumps", "dumps_call", "loads", "handle_of_message"]

type Handle = Queue
type Parts = tuple[Block | Handle, ...]

_loading = threading.local()


def handle_of_message(number: int) -> Handle:
    """Return the handle `number` of the message that this thread is unpickling."""
    handle: Handle = _loading.handles[number]
    return handle


def _cloudpickler() -> Any:
    """Return the module with the picklers, which imports cloudpickle and with it much else."""
    from owngil import _cloudpickler

    return _cloudpickler


_SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})
_LONGEST = 100
# Those that plain pickle sends as well when they are large.
_RAW = frozenset({bytes, bytearray})


def _is_plain(obj: object) -> bool:
    """Return whether `obj` is made of built-in values only, so that a worker needs no cloudpickle to send it."""
    if type(obj) in _SCALARS:
        return type(obj) is not bytes or len(obj) < LARGE
    return (
        (type(obj) is tuple or type(obj) is list)
        and len(obj) <= _LONGEST
        and all(type(x) in _SCALARS and (type(x) is not bytes or len(x) < LARGE) for x in obj)
    )


def _type_name(obj: object) -> str:
    kind = type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def describe_callable(fn: object) -> str:
    """Return a short name of `fn` for messages, such as ``math.sqrt()``."""
    name = getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None)
    if not isinstance(name, str):
        return f"a callable of type {_type_name(fn)}"
    module = getattr(fn, "__module__", None)
    return f"{module}.{name}()" if module not in (None, "__main__", "builtins") else f"{name}()"


def _explain(error: Exception, obj: object, what: str) -> Exception:
    """Return an error of a fitting class that names the object which stopped pickling, and what it belongs to."""
    tracer = _cloudpickler().Tracer(Chunks())
    try:
        tracer.dump(obj)
    except Exception:
        culprit = f"an object of type '{_type_name(tracer.last)}'"
    else:  # pickling failed only the first time
        culprit = "an object"
    kind = TypeError if type(error) is TypeError else pickle.PicklingError
    return kind(f"{what}: {culprit} cannot be pickled: {error}")


def dumps(obj: object, what: str) -> Parts:
    """Turn `obj` into the parts of a message.

    What main sends, it lends: the receiver reads main's own buffers, which stay as long as it does. A worker may end
    before; so the memory of its NumPy arrays is handed over, and its other buffers are copied once.

    Parameters
    ----------
    obj : object
        Anything picklable; channels too.
    what : str
        What `obj` is, for the error: the start of a sentence.

    Raises
    ------
    TypeError, pickle.PicklingError
        If something in `obj` cannot be pickled.
    """
    if _is_plain(obj):
        return (Block(pickle.dumps(obj, 5)),)
    chunks = Chunks()
    if type(obj) in _RAW:
        pickle.dump(obj, chunks, 5)
        stream, buffers = chunks.pack([])
        return (Block(stream), *map(block_of, buffers))
    pickler = _cloudpickler().Pickler(chunks)
    try:
        pickler.dump(obj)
    except Exception as error:
        # The traceback refers to the pickler: whoever keeps the exception must not keep others' buffers exported.
        chunks.clear()
        pickler.buffers.clear()
        if isinstance(error, MemoryError):
            raise
        raise _explain(error, obj, what) from error
    stream, buffers = chunks.pack(pickler.buffers)
    return (Block(stream), *[block_of(buffer) for buffer in buffers], *pickler.handles)


def dumps_call(fn: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> Parts:
    """Turn a call into the parts of a message; see `dumps`."""
    return dumps((fn, args, kwargs), f"{describe_callable(fn)} cannot be sent to a worker")


def loads(parts: Parts) -> Any:
    """Rebuild the object that `dumps` took apart; what has buffers refers to the memory of the blocks in `parts`."""
    stream, *rest = parts
    buffers = [part for part in rest if type(part) is Block]
    outer = getattr(_loading, "handles", None)
    _loading.handles = [part for part in rest if type(part) is not Block]
    try:
        return pickle.loads(stream, buffers=buffers)  # type: ignore[arg-type]
    finally:
        _loading.handles = outer
