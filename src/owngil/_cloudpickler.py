"""Picklers for what needs more than plain pickle; see `_wire`, which imports this when it must."""

import io
import marshal
import pickle
from types import CodeType, EllipsisType
from typing import Any

import cloudpickle

from owngil import _arrays, _wire
from owngil._core import Barrier, BoundedSemaphore, Counter, Event, Lock, Queue, Semaphore

__all__ = ["Pickler", "Tracer"]

# The types of the core whose objects belong to the process and pass as what they are.
_HANDLES = frozenset({Queue, Lock, Semaphore, BoundedSemaphore, Event, Barrier, Counter})


# What the compiler puts into a code object.
_CONSTANTS = frozenset({type(None), bool, int, float, complex, str, bytes, EllipsisType, slice})


def _is_constant(obj: object) -> bool:
    if type(obj) is tuple or type(obj) is frozenset:
        return all(map(_is_constant, obj))
    return type(obj) in _CONSTANTS or (type(obj) is CodeType and _is_constant(obj.co_consts))


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles by value what cannot be imported; buffers and handles go beside the pickle, in lists of these names."""

    def __init__(self, file: io.BytesIO) -> None:
        self.buffers: list[pickle.PickleBuffer] = []
        self.handles: list[_wire.Handle] = []
        super().__init__(file, protocol=5, buffer_callback=self.buffers.append)

    def reducer_override(self, obj: object) -> Any:
        if type(obj) in _HANDLES:
            self.handles.append(obj)  # type: ignore[arg-type]
            return _wire.handle_of_message, (len(self.handles) - 1,)
        if type(obj) is memoryview:
            return _arrays.reduce_memoryview(obj)
        if type(obj) is CodeType and _is_constant(obj):
            # Both ends are one Python. And cloudpickle 3.1.3 leaves out the file's name, without which tracebacks have no
            # source lines.
            return marshal.loads, (marshal.dumps(obj),)
        reduced = _arrays.reduce_array(obj)
        return super().reducer_override(obj) if reduced is NotImplemented else reduced


class Tracer(Pickler):
    """Remembers what it was pickling, which after a failure is what could not be pickled."""

    last: object = None

    def reducer_override(self, obj: object) -> Any:
        self.last = obj
        return super().reducer_override(obj)
