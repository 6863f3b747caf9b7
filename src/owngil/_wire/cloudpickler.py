"""Picklers for what needs more than plain pickle; see `_wire`, which imports this when it must."""

import marshal
import pickle
from types import CodeType, EllipsisType, FunctionType
from typing import Any

import cloudpickle

from owngil._wire.chunks import Chunks
from owngil._wire.global_versions import with_versions
from owngil._wire.pickler import Handle, reduce_beside

__all__ = ["Pickler", "Tracer"]

# What the compiler puts into a code object.
_CONSTANTS = frozenset({type(None), bool, int, float, complex, str, bytes, EllipsisType, slice})


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
            # Both ends are one Python. And cloudpickle 3.1.3 leaves out the file's name, without which tracebacks have
            # no source lines.
            return marshal.loads, (marshal.dumps(obj),)
        reduced = reduce_beside(obj, self.handles)
        if reduced is NotImplemented:
            reduced = super().reducer_override(obj)
            if type(obj) is FunctionType and reduced is not NotImplemented:
                return with_versions(obj, reduced)
        return reduced


class Tracer(Pickler):
    """Remembers what it was pickling, which after a failure is what could not be pickled."""

    last: object = None

    def reducer_override(self, obj: object) -> Any:
        self.last = obj
        return super().reducer_override(obj)
