"""Describes an object by plain values, so that two objects of different interpreters can be compared."""

import array
import collections
import dataclasses
import enum
import hashlib
import re
import struct
import types
from typing import Any

import numpy as np

__all__ = ["check_read_only", "describe", "difference", "lent_arrays"]


def _array(obj: Any, memo: dict[int, Any]) -> Any:
    if obj is np.ma.masked:
        return "masked"
    if isinstance(obj, np.ma.MaskedArray):
        # Not the fill value: NumPy changes the default when the array is shown or pickled.
        return [_array(np.asarray(obj.data), memo), _array(np.asarray(np.ma.getmaskarray(obj)), memo)]
    plain = np.ndarray.view(obj, np.ndarray)
    plain = plain.astype(plain.dtype.newbyteorder("="), copy=False)  # NumPy's pickling may change it
    if plain.dtype.names is not None:
        content: Any = [_array(plain[name], memo) for name in plain.dtype.names]
    elif plain.dtype.hasobject:
        content = [describe(element, memo) for element in plain.ravel().tolist()]
    else:
        content = hashlib.sha256(plain.tobytes()).hexdigest()
    flags = np.ndarray.flags.__get__(obj)
    order = "F" if type(obj) is np.ndarray and plain.size > 1 and flags.fnc else ""
    return [str(plain.dtype), str(plain.dtype.descr) if plain.dtype.names is None else "", plain.shape, order, content]


def _attributes(obj: Any, memo: dict[int, Any]) -> Any:
    return [[name, describe(value, memo)] for name, value in vars(obj).items()]


def describe(obj: Any, memo: dict[int, Any] | None = None) -> Any:
    """Return what an object is, as lists of plain values. A second reference to an object is its number."""
    memo = {} if memo is None else memo
    kind = type(obj)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind is int:
        return [name, hex(obj)]
    if kind in (str, bool, type(None), type(...), type(NotImplemented)):
        return [name, repr(obj)]
    if kind is bytes:
        return [name, len(obj), hashlib.sha256(obj).hexdigest()]
    if kind is float:
        return [name, struct.pack("d", obj).hex() if obj == obj else "nan"]
    if kind is complex:
        return [name, describe(obj.real), describe(obj.imag)]
    if isinstance(obj, (type, types.FunctionType, types.ModuleType)):
        return [name, getattr(obj, "__module__", ""), obj.__name__]
    if isinstance(obj, enum.Enum):
        return [name, repr(obj)]
    if id(obj) in memo:
        return memo[id(obj)][0]
    memo[id(obj)] = (len(memo), obj)  # it keeps the object, so that its id is of no other
    if isinstance(obj, np.ndarray):
        return [name, _array(obj, memo)]
    if isinstance(obj, np.generic):
        return [name, str(obj.dtype), obj.tobytes().hex()]
    if kind is bytearray or kind is array.array:
        return [name, getattr(obj, "typecode", ""), len(obj), hashlib.sha256(bytes(obj)).hexdigest()]
    if kind is memoryview:
        return [name, obj.format, obj.shape, hashlib.sha256(obj.tobytes()).hexdigest()]
    if isinstance(obj, dict):
        return [name, [[describe(key, memo), describe(value, memo)] for key, value in obj.items()]]
    if isinstance(obj, (list, tuple, collections.deque)):
        return [name, [describe(part, memo) for part in obj]]
    if isinstance(obj, (set, frozenset)):
        return [name, sorted(repr(describe(part)) for part in obj)]
    if isinstance(obj, BaseExceptionGroup):
        return [name, obj.message, describe(obj.exceptions, memo), _attributes(obj, memo)]
    if isinstance(obj, BaseException):
        return [name, describe(obj.args, memo), str(obj), _attributes(obj, memo)]
    if isinstance(obj, re.Pattern):
        return [name, obj.pattern, obj.flags]
    if isinstance(obj, np.random.Generator):
        return [name, str(obj.bit_generator.state)]
    if isinstance(obj, types.BuiltinMethodType):
        return [name, obj.__name__, "" if isinstance(obj.__self__, types.ModuleType) else describe(obj.__self__)]
    if isinstance(obj, (str, int)):
        return [name, str.__repr__(obj) if isinstance(obj, str) else hex(obj), _attributes(obj, memo)]
    if dataclasses.is_dataclass(obj):
        return [name, [describe(getattr(obj, field.name), memo) for field in dataclasses.fields(obj)]]
    if kind.__module__ == "builtins" or not hasattr(obj, "__dict__"):
        return [name, repr(obj)]
    return [name, _attributes(obj, memo)] if kind.__repr__ is object.__repr__ else [name, repr(obj)]


def difference(first: Any, second: Any) -> str:
    """Return the first difference of two descriptions; empty if there is none."""
    if type(first) is list and type(second) is list and len(first) == len(second):
        for one, other in zip(first, second, strict=True):
            if found := difference(one, other):
                inside = first[0] if type(first[0]) is str else ""
                return f"{inside} > {found}" if inside else found
        return ""
    return "" if first == second else f"{repr(first)[:1000]} != {repr(second)[:1000]}"


def lent_arrays(obj: Any) -> list[Any]:
    """Return the plain arrays in an object whose elements are no Python objects: their memory is not copied."""
    memo: dict[int, Any] = {}
    describe(obj, memo)
    found = [entry[1] for entry in memo.values() if type(entry[1]) is np.ndarray]
    return [entry for entry in found if entry.nbytes and not entry.dtype.hasobject]


def check_read_only(obj: Any) -> Any:
    """Check in a worker that arrays that came as arguments are read-only. Return the object and what it is."""
    assert not any(entry.flags.writeable for entry in lent_arrays(obj)), "an argument can be written to"
    return obj, describe(obj)
