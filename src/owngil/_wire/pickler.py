"""Plain pickle, with buffers and handles beside the pickle: for values, and for what the receiver can import.

Functions and classes that go by value need `cloudpickler`. Workers do not import it, with its many imports, until they
have to.
"""

import pickle
import sys
import threading
import types
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, TypeVar

from owngil._core import Barrier, BoundedSemaphore, Counter, Event, Lock, Queue, Semaphore, is_importable
from owngil._wire.arrays import reduce_array, reduce_buffer
from owngil._wire.chunks import Chunks
from owngil._wire.exceptions import reduce_exception

__all__ = [
    "LAZY_IMPORT",
    "Handle",
    "NeedsCloudpickleError",
    "Pickler",
    "handle_of_message",
    "loading",
    "reduce_beside",
]

type Handle = Queue | Lock | Semaphore | BoundedSemaphore | Event | Barrier | Counter
_BY_NAME = (FunctionType, BuiltinFunctionType, type)
# The types of the core whose objects belong to the process: they are handed over, and not pickled.
_HANDLES = frozenset({Queue, Lock, Semaphore, BoundedSemaphore, Event, Barrier, Counter})

# The type of a global that a lazy import has bound, until the global is used. Before 3.15 there is none.
LAZY_IMPORT = getattr(types, "LazyImportType", None)

# Its attribute `handles` has the handles of the message that this thread is unpickling.
loading = threading.local()


def handle_of_message(number: int) -> Handle:
    """Return the handle `number` of the message that this thread is unpickling."""
    handle: Handle = loading.handles[number]
    return handle


def reduce_beside(obj: object, handles: list[Handle]) -> Any:
    """Return how to pickle an exception, a pipe's end, an object with a buffer, or a handle; or NotImplemented.

    A handle is appended to `handles`.
    """
    if type(obj) in _HANDLES:
        handles.append(obj)  # type: ignore[arg-type]
        return handle_of_message, (len(handles) - 1,)
    if isinstance(obj, BaseException):
        return reduce_exception(obj)
    connection = sys.modules.get("multiprocessing.connection")
    if connection is not None and type(obj) is connection.Connection:
        # As for another process: with a descriptor of its own. Otherwise both ends would close one descriptor.
        return connection.reduce_connection(obj)
    reduced = reduce_array(obj)
    return reduce_buffer(obj) if reduced is NotImplemented else reduced


class NeedsCloudpickleError(pickle.PicklingError):
    """Plain pickle cannot send the object, or would send by name what must go by value."""


def _is_found(method: MethodType) -> bool:
    """Return whether pickle may send a method by its name: whether its object has this method under that name.

    It has another one if the method is of a base class (by ``super()``), is private, or got the name of another
    function.
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
        """See pickle.Pickler, which does not call this for built-in values."""
        if isinstance(obj, _BY_NAME):
            # Of a method of a built-in type, pickle itself pickles the object that it is bound to.
            if not is_importable(obj) and not (type(obj) is BuiltinFunctionType and obj.__self__ is not None):
                raise NeedsCloudpickleError
            return NotImplemented
        if type(obj) is TypeVar or type(obj) is LAZY_IMPORT:
            raise NeedsCloudpickleError
        if type(obj) is MethodType and not _is_found(obj):
            raise NeedsCloudpickleError
        return reduce_beside(obj, self.handles)
