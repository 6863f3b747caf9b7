"""Arrays in memory of the process, which every interpreter may write."""

import math
from typing import Any

from owngil._core import Block
from owngil._wire.arrays import is_shared

__all__ = ["empty", "full", "share", "zeros"]


def _refuse_objects(dtype: Any) -> None:
    if dtype.hasobject:
        raise TypeError(
            f"an array of dtype {dtype} cannot be shared: its elements are Python objects, which belong to one "
            "interpreter; share numbers, or bytes of a fixed length"
        )


def _new(shape: Any, dtype: Any, order: str) -> Any:
    """Return a new array, of zeros."""
    import numpy

    dtype = numpy.dtype(dtype)
    _refuse_objects(dtype)
    if order not in ("C", "F"):
        raise ValueError(f"order must be 'C' or 'F', not {order!r}")
    lengths = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    lengths = tuple(length.__index__() for length in lengths)
    if any(length < 0 for length in lengths):
        raise ValueError(f"the lengths of a shape must be 0 or more, not {lengths}")
    size = math.prod(lengths) * dtype.itemsize
    try:
        block = Block.zeros(size)
    except (MemoryError, OverflowError):
        raise MemoryError(f"no memory for a shared array of shape {lengths} and dtype {dtype}: {size} bytes") from None
    return numpy.ndarray(lengths, dtype, block, order=order)  # type: ignore[call-overload,arg-type]


def empty(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    """Return a shared array whose content does not matter.

    Parameters
    ----------
    shape : int or sequence of int
        The lengths of its axes.
    dtype : data type, optional
        Of its elements; anything that `numpy.dtype` takes, without Python objects. Default: float64.
    order : {'C', 'F'}, optional
        Whether rows (the default) or columns are contiguous.

    Returns
    -------
    numpy.ndarray
        An ordinary array; its memory belongs to the process and begins at a multiple of 64 bytes. See `share`.

    Raises
    ------
    TypeError
        If elements of `dtype` are or hold Python objects.
    ValueError
        If a length is negative, or `order` is neither 'C' nor 'F'.
    MemoryError
        If there is not enough memory.

    Examples
    --------
    >>> squares = owngil.empty(4, int)
    >>> def fill(array, k):
    ...     array[k] = k**2
    >>> with owngil.Pool(2) as pool:
    ...     for k in range(4):
    ...         _ = pool.submit(fill, squares, k)
    >>> print(squares)
    [0 1 4 9]
    """
    return _new(shape, dtype, order)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    """Return a shared array of zeros.

    Parameters
    ----------
    shape : int or sequence of int
        The lengths of its axes.
    dtype : data type, optional
        Of its elements; anything that `numpy.dtype` takes, without Python objects. Default: float64.
    order : {'C', 'F'}, optional
        Whether rows (the default) or columns are contiguous.

    Returns
    -------
    numpy.ndarray
        An ordinary array; its memory belongs to the process and begins at a multiple of 64 bytes. See `share`.

    Raises
    ------
    TypeError
        If elements of `dtype` are or hold Python objects.
    ValueError
        If a length is negative, or `order` is neither 'C' nor 'F'.
    MemoryError
        If there is not enough memory.

    Notes
    -----
    A large array takes up memory only where it is written.

    Examples
    --------
    >>> total = owngil.zeros((2, 3))
    >>> def add_to_row(rows, k):
    ...     rows[k] += 1
    >>> with owngil.Interpreter() as it:
    ...     it.call(add_to_row, total, 1)
    >>> print(total)
    [[0. 0. 0.]
     [1. 1. 1.]]
    """
    return _new(shape, dtype, order)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> Any:
    """Return a shared array filled with a value.

    Parameters
    ----------
    shape : int or sequence of int
        The lengths of its axes.
    fill_value : scalar or array_like
        What its elements are; it is broadcast to `shape`.
    dtype : data type, optional
        Of its elements; anything that `numpy.dtype` takes, without Python objects. Default: that of `fill_value`.
    order : {'C', 'F'}, optional
        Whether rows (the default) or columns are contiguous.

    Returns
    -------
    numpy.ndarray
        An ordinary array; its memory belongs to the process and begins at a multiple of 64 bytes. See `share`.

    Raises
    ------
    TypeError
        If elements of `dtype` are or hold Python objects.
    ValueError
        If a length is negative, `order` is neither 'C' nor 'F', or `fill_value` does not broadcast to `shape`.
    MemoryError
        If there is not enough memory.

    Examples
    --------
    >>> print(owngil.full(3, 7))
    [7 7 7]
    """
    import numpy

    array = _new(shape, numpy.asarray(fill_value).dtype if dtype is None else dtype, order)
    numpy.copyto(array, fill_value, casting="unsafe")
    return array


def _axes_by_stride(array: Any) -> list[int]:
    """Return the axes of an array, that with the smallest steps last; of equal ones, as they are."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def share(array: Any) -> Any:
    """Return an array that every interpreter sees and may write.

    Parameters
    ----------
    array : array_like
        A shared array, or a view of one, is returned as it is. Anything else is copied, once.

    Returns
    -------
    numpy.ndarray
        An ordinary array; its memory belongs to the process and begins at a multiple of 64 bytes. Axes are in memory in
        the order that they have in `array`.

    Raises
    ------
    TypeError
        If the elements are or hold Python objects, or if `array` is a masked array: share its data and its mask.
    MemoryError
        If there is not enough memory.

    See Also
    --------
    empty, zeros, full : Make a shared array; nothing is copied.

    Notes
    -----
    Wherever a shared array is passed (as an argument, in a result, through a channel, in a function's closure, at any
    depth), what arrives is the same memory, and writable. The same holds for slices and other views of it; a read-only
    view arrives read-only. What arithmetic makes of it is an array of its own. The memory stays until the last view in
    any interpreter is gone.

    Interpreters that write to the same elements at the same time race, as threads do in C: which value stays, and what
    a reader meanwhile sees, nobody knows. Give each its own part, or use `owngil.Lock`. The array never moves, and
    cannot be resized.

    Pickled by other means (multiprocessing, files), and by `copy`, it becomes an ordinary array.

    Examples
    --------
    >>> import numpy as np
    >>> shared = owngil.share(np.arange(6))
    >>> def double(array):
    ...     array *= 2
    >>> with owngil.Interpreter() as it:
    ...     it.call(double, shared[3:])
    >>> print(shared)
    [ 0  1  2  6  8 10]
    """
    import numpy

    if isinstance(array, numpy.ndarray) and is_shared(array):
        return array
    if isinstance(array, numpy.ma.MaskedArray):
        raise TypeError("a masked array cannot be shared as one: share its data and its mask")
    array = numpy.asarray(array)
    axes = _axes_by_stride(array)
    copy = _new([array.shape[axis] for axis in axes], array.dtype, "C")
    copy = copy.transpose(sorted(range(array.ndim), key=axes.__getitem__))
    numpy.copyto(copy, array)
    return copy
