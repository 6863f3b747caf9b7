"""Picklers for what plain pickle cannot send: functions and classes by value. `message` imports them when needed."""

import marshal
import pickle
from types import CodeType, EllipsisType, FunctionType
from typing import Any

import cloudpickle

from owngil._wire.chunks import Chunks
from owngil._wire.classes import with_owner
from owngil._wire.global_versions import with_versions
from owngil._wire.pickler import LAZY_IMPORT, Handle, reduce_beside

__all__ = ["Pickler", "Tracer"]

# The types of constants that the compiler puts into a code object.
_CONSTANTS = frozenset({type(None), bool, int, float, complex, str, bytes, EllipsisType, slice})


def _same[T](obj: T) -> T:
    return obj


def _is_constant(obj: object) -> bool:
    if type(obj) is tuple or type(obj) is frozenset:
        return all(map(_is_constant, obj))
    return type(obj) in _CONSTANTS or (type(obj) is CodeType and _is_constant(obj.co_consts))


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles by value what cannot be imported; buffers and handles go beside the pickle, in lists of these names."""

    def __init__(self, file: Chunks) -> None:
        self.buffers: list[pickle.PickleBuffer] = []
        self.handles: list[Handle] = []
        super().__init__(file, protocol=5, buffer_callback=self.buffers.append)

    def reducer_override(self, obj: object) -> Any:
        if type(obj) is CodeType and _is_constant(obj):
            # Sender and receiver are one Python, so marshal will do. cloudpickle 3.1.3 would leave out the file's name,
            # without which tracebacks have no source lines.
            return marshal.loads, (marshal.dumps(obj),)
        if LAZY_IMPORT is not None and type(obj) is LAZY_IMPORT:
            return _same, (obj.resolve(),)  # type: ignore[attr-defined]
        reduced = reduce_beside(obj, self.handles)
        if reduced is NotImplemented:
            reduced = super().reducer_override(obj)
            if type(obj) is FunctionType and reduced is not NotImplemented:
                return with_versions(obj, reduced)
            if isinstance(obj, type) and type(reduced) is tuple and len(reduced) == 6:
                return with_owner(obj, reduced)
        return reduced


class Tracer(Pickler):
    """Records the objects that it pickles. After a failure, the last is the one that cannot be pickled."""

    def __init__(self, file: Chunks) -> None:
        super().__init__(file)
        self.trail: list[object] = []

    def reducer_override(self, obj: object) -> Any:
        self.trail.append(obj)
        return super().reducer_override(obj)
