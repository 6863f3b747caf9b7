"""Pickling with plain pickle: what is built of values and of what can be imported, and what goes beside the pickle.

The rest needs cloudpickle, in `_cloudpickler`: functions and classes that go by value. Workers do without it, and its
many imports, as long as they can.
"""

import pickle
import threading
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, TypeVar

from owngil._core import Barrier, BoundedSemaphore, Counter, Event, Lock, Queue, Semaphore, is_importable
from owngil._wire.arrays import reduce_array, reduce_buffer
from owngil._wire.chunks import Chunks

__all__ = [
    "Handle",
    "NeedsCloudpickleError",
    "Pickler",
    "handle_of_message",
    "loading",
    "reduce_beside",
]

type Handle = Queue | Lock | Semaphore | BoundedSemaphore | Event | Barrier | Counter
_BY_NAME = (FunctionType, BuiltinFunctionType, type)
# The types of the core whose objects belong to the process and pass as what they are.
_HANDLES = frozenset({Queue, Lock, Semaphore, BoundedSemaphore, Event, Barrier, Counter})

# `handles`: those of the message that this thread is unpickling.
loading = threading.local()


def handle_of_message(number: int) -> Handle:
    """Return the handle `number` of the message that this thread is unpickling."""
    handle: Handle = loading.handles[number]
    return handle


def reduce_beside(obj: object, handles: list[Handle]) -> Any:
    """Return how to pickle what goes beside it, a buffer or handle (which is appended), or NotImplemented."""
    if type(obj) in _HANDLES:
        handles.append(obj)  # type: ignore[arg-type]
        return handle_of_message, (len(handles) - 1,)
    reduced = reduce_array(obj)
    return reduce_buffer(obj) if reduced is NotImplemented else reduced


class NeedsCloudpickleError(pickle.PicklingError):
    """Plain pickle cannot do it, or would send by name what must go by value."""


def _is_found(method: MethodType) -> bool:
    """Return whether its object has the method under its name, by which alone pickle sends it.

    Not if it is of a base class (by ``super()``), or private, or has its name from another function.
    """
    found = getattr(method.__self__, method.__name__, None)
    return type(found) is MethodType and found.__func__ is method.__func__ and found.__self__ is method.__self__


class Pickler(pickle.Pickler):
    """Plain pickle; buffers and handles go beside the pickle, in lists of these names."""

    def __init__(self, file: Chunks) -> None:
        self.buffers: list[pickle.PickleBuffer] = []
        self.handles: list[Handle] = []
        super().__init__(file, protocol=5, buffer_callback=self.buffers.append)

    def reducer_override(self, obj: object) -> Any:
        """See pickle.Pickler; it is not asked for built-in values."""
        if isinstance(obj, _BY_NAME):
            # What a method of a built-in type is bound to, pickle looks at by itself.
            if not is_importable(obj) and not (type(obj) is BuiltinFunctionType and obj.__self__ is not None):
                raise NeedsCloudpickleError
            return NotImplemented
        if type(obj) is TypeVar:
            raise NeedsCloudpickleError
        if type(obj) is MethodType and not _is_found(obj):
            raise NeedsCloudpickleError
        return reduce_beside(obj, self.handles)
