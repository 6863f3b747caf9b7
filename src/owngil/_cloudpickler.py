"""Picklers for what needs more than plain pickle; see `_wire`, which imports this when it must."""

import pickle
from typing import Any

import cloudpickle

from owngil import _arrays, _chunks, _wire
from owngil._core import Queue

__all__ = ["Pickler", "Tracer"]

# The types of the core whose objects belong to the process and pass as what they are.
_HANDLES = frozenset({Queue})


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles by value what cannot be imported; buffers and handles go beside the pickle, in lists of these names."""

    def __init__(self, file: _chunks.Chunks) -> None:
        self.buffers: list[pickle.PickleBuffer] = []
        self.handles: list[_wire.Handle] = []
        super().__init__(file, protocol=5, buffer_callback=self.buffers.append)

    def reducer_override(self, obj: object) -> Any:
        if type(obj) in _HANDLES:
            self.handles.append(obj)  # type: ignore[arg-type]
            return _wire.handle_of_message, (len(self.handles) - 1,)
        reduced = _arrays.reduce_array(obj)
        if reduced is NotImplemented:
            reduced = _arrays.reduce_buffer(obj)
        return super().reducer_override(obj) if reduced is NotImplemented else reduced


class Tracer(Pickler):
    """Remembers what it was pickling, which after a failure is what could not be pickled."""

    last: object = None

    def reducer_override(self, obj: object) -> Any:
        self.last = obj
        return super().reducer_override(obj)
