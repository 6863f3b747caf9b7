"""Pickles arrays without a copy where pickle's protocol 5 would make one, and finds out who owns an array's memory.

NumPy itself puts the memory of a contiguous array beside the pickle. This module does that for other arrays: with gaps
or in another order, dates (which have no buffers), memory maps, masked arrays, subclasses of NumPy's own. `block_of`
turns a buffer into a block: lent, handed over, shared or copied, depending on the owner of the memory.
"""

import copyreg
import pickle
import sys
from types import ModuleType
from typing import Any

from owngil._core import Block, in_main_interpreter
from owngil._wire.chunks import LARGE

__all__ = ["block_of", "is_shared", "reduce_array", "reduce_buffer"]

_DATES = "mM"
# The main interpreter outlives all workers, so it can lend its memory.
_LENDS = in_main_interpreter()


class _Span:
    """The memory from an array's first byte to its last. NumPy can make an array of bytes of it."""

    def __init__(self, array: Any, start: int, size: int) -> None:
        self.array = array
        self.__array_interface__ = {
            "version": 3, "typestr": "|u1", "shape": (size,), "data": (start, not array.flags.writeable)
        }  # fmt: skip


def _extent(array: Any) -> tuple[int, int]:
    """Return the distance of an array's first element from its lowest byte, and the size of the whole, in bytes."""
    below = above = 0
    for length, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            below -= (length - 1) * stride
        else:
            above += (length - 1) * stride
    return below, below + above + array.itemsize


def _rebuild(buffer: Any, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    import numpy

    return numpy.ndarray(shape, dtype, buffer, offset, strides)


def _rebuild_subclass(kind: Any, array: Any) -> Any:
    import numpy

    return numpy.ndarray.view(array, getattr(numpy, kind) if type(kind) is str else kind)


def _rebuild_masked(data: Any, mask: Any, fill_value: Any, hard: bool) -> Any:
    import numpy

    array: Any = numpy.ma.MaskedArray(data, numpy.ma.nomask if mask is None else mask, hard_mask=hard)
    array._fill_value = fill_value
    return array


def _is_buffer(array: Any) -> bool:
    """Return whether an array offers its memory as a buffer. Dates do not, nor do structures with dates in them."""
    kind = array.dtype.kind
    if kind != "V":
        return kind not in _DATES
    try:
        memoryview(array).release()
    except ValueError:  # the type has no letter in the format of buffers
        return False
    return True


def _reduce_plain(numpy: ModuleType, array: Any) -> Any:
    kind = type(array)
    if array.dtype.hasobject or array.size == 0 or array.itemsize == 0:
        return NotImplemented
    if kind is numpy.ndarray and array.flags.forc and _is_buffer(array):
        return NotImplemented  # NumPy does the same
    offset, size = _extent(array)
    if not _LENDS and size > 2 * array.nbytes and not is_shared(array):
        return NotImplemented  # a copy is smaller than the memory that would be kept
    start = _address(numpy, array) - offset
    span = numpy.asarray(_Span(array, start, size))
    return _rebuild, (pickle.PickleBuffer(span), array.dtype, array.shape, array.strides, offset)


def _address(numpy: ModuleType, array: Any) -> int:
    """Return the address of an array's first element: as NumPy says, not as a subclass does."""
    address: int = numpy.ndarray.__array_interface__.__get__(array)["data"][0]
    return address


def reduce_array(obj: object) -> Any:
    """Return how to pickle an array; NotImplemented if `obj` is none, or if NumPy's own way needs no copy."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(obj, getattr(numpy, "ndarray", ())):
        return NotImplemented
    kind = type(obj)
    if kind is numpy.ndarray or kind is numpy.memmap:
        return _reduce_plain(numpy, obj)
    masked = sys.modules.get("numpy.ma")
    if masked is not None and kind is masked.MaskedArray:
        array: Any = obj
        if array.dtype.hasobject:
            return NotImplemented
        mask = None if array.mask is masked.nomask else array.mask
        # None means that the fill value follows from the dtype. The property `fill_value` would fix it for the caller.
        return _rebuild_masked, (array.data, mask, array._fill_value, array.hardmask)
    if kind is numpy.matrix or kind is numpy.recarray:
        # Send the class by name. While its module, numpy.rec, is not loaded, cloudpickle would send it by value.
        return _rebuild_subclass, (kind.__name__, numpy.ndarray.view(obj, numpy.ndarray))
    if _pickles_as_array(numpy, kind) and is_shared(obj):
        return _rebuild_subclass, (kind, numpy.ndarray.view(obj, numpy.ndarray))
    return NotImplemented


def _pickles_as_array(numpy: ModuleType, kind: type) -> bool:
    """Return whether a subclass uses ndarray's pickling, which keeps the class and copies the data."""
    names = ("__reduce__", "__reduce_ex__", "__setstate__")
    return kind not in copyreg.dispatch_table and all(
        getattr(kind, name) is getattr(numpy.ndarray, name) for name in names
    )


def _rebuild_memoryview(buffer: Any, form: str, shape: tuple[int, ...]) -> memoryview:
    view = memoryview(buffer)
    return view if view.format == form and view.shape == shape else view.cast("B").cast(form, list(shape))  # type: ignore[call-overload,no-any-return]


def _reduce_memoryview(view: memoryview) -> Any:
    """Return how to pickle a memoryview: its memory beside the pickle if it is contiguous, else a copy."""
    whole = view if view.c_contiguous else memoryview(view.tobytes())
    return _rebuild_memoryview, (pickle.PickleBuffer(whole), view.format, view.shape)


def _rebuild_builtin_array(typecode: str, buffer: Any) -> Any:
    import array

    result = array.array(typecode)
    result.frombytes(buffer)
    return result


def reduce_buffer(obj: Any) -> Any:
    """Return how to pickle a memoryview or a large array.array, or NotImplemented if it is neither."""
    if type(obj) is memoryview:
        return _reduce_memoryview(obj)
    arrays = sys.modules.get("array")
    if arrays is not None and type(obj) is arrays.array and len(obj) * obj.itemsize >= LARGE:
        return _rebuild_builtin_array, (obj.typecode, pickle.PickleBuffer(obj))
    return NotImplemented


def _owner_of(thing: Any) -> Any:
    """Return the owner of the memory of an array or memoryview: a Block, an array without a base, or another object.

    This asks NumPy for an array's base: a subclass may say anything, and `isinstance` asks the object for its class.
    """
    array: Any = getattr(sys.modules.get("numpy"), "ndarray", ())
    while True:
        kind = type(thing)
        if kind is memoryview:
            below = thing.obj
        elif kind is _Span:
            below = thing.array
        elif issubclass(kind, array):
            below = array.base.__get__(thing)
        else:
            return thing
        if below is None:
            return thing
        thing = below


def is_shared(array: Any) -> bool:
    """Return whether an array is in shared memory, which every interpreter may write."""
    owner = _owner_of(array)
    return type(owner) is Block and owner.shared


def block_of(buffer: pickle.PickleBuffer) -> Block:
    """Return a block of a buffer.

    Shared memory stays shared. The main interpreter lends its own memory. A worker hands over the memory of its NumPy
    arrays, and passes on what was lent to it. It copies other memory, which ends with the worker.
    """
    with memoryview(buffer) as view:
        owner = _owner_of(view.obj)
    block = None
    if type(owner) is Block and (owner.shared or not _LENDS):
        block = owner.part(buffer)
    elif not _LENDS and (start := _start_of_ours(owner)) is not None:
        block = Block.of_array(start, buffer)
    return Block(buffer, lend=_LENDS) if block is None else block


def _start_of_ours(owner: Any) -> int | None:
    """Return where the memory of an array from owngil's allocator starts; None if the owner is no such array."""
    numpy: Any = sys.modules.get("numpy")
    if not issubclass(type(owner), getattr(numpy, "ndarray", ())):
        return None
    core = numpy._core if hasattr(numpy, "_core") else numpy.core  # NumPy 1
    return _address(numpy, owner) if core.multiarray.get_handler_name(owner) == "owngil" else None
