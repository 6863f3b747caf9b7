"""Counts versions of the globals that functions sent by value use; see `globals`, the receiver's side.

The version of a name is how often this interpreter has found another object under it. With it, a receiver decides
whether the sender's object counts, or the one that a function has assigned there.
"""

import os
import threading
import weakref
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from owngil._core import locked
from owngil._wire.globals import HOME, MISSING, ORIGIN, Origin, Version, set_state

__all__ = ["with_versions"]

_counter = os.urandom(8)  # identifies this interpreter among those that count


class _Names(NamedTuple):
    """The globals of a function and of those within it."""

    assigned: frozenset[str]
    used: frozenset[str]  # read or assigned


_names: "weakref.WeakKeyDictionary[CodeType, _Names]" = weakref.WeakKeyDictionary()
_versions: dict[str, tuple[Callable[[], object], int]] = {}  # by name: the last object, and its version
_counting = threading.RLock()


def _names_of(code: CodeType) -> _Names:
    names = _names.get(code)
    if names is None:
        import dis

        assigned, used = set(), set()
        for instruction in dis.get_instructions(code):
            operation = instruction.opname
            if operation in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                assigned.add(instruction.argval)
            if "GLOBAL" in operation or operation == "LOAD_NAME":
                used.add(instruction.argval)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                inner = _names_of(constant)
                assigned |= inner.assigned
                used |= inner.used
        names = _names[code] = _Names(frozenset(assigned), frozenset(used))
    return names


def _reference(value: object) -> Callable[[], object]:
    """Return a function that returns the object: a weak reference if its type allows one, as arrays do."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


def _version(name: str, value: object, origin: Origin | None) -> Version:
    if origin is not None and origin.objects.get(name, MISSING) is value:  # it was received, and is passed on
        return origin.versions.get(name, (origin.counter, 1))
    return _counter, locked(_counting, _count, name, value)


def _count(name: str, value: object) -> int:
    """Return the version of the object; with the lock held."""
    last, version = _versions.get(name, (None, 0))
    if last is None or last() is not value:
        version += 1
        _versions[name] = (_reference(value), version)
    return version


def with_versions(fn: FunctionType, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return how to pickle `fn`, given how cloudpickle would, so that it finds globals that others have assigned."""
    namespace = fn.__globals__
    if namespace.get("__name__") != HOME:
        return reduced
    names = _names_of(fn.__code__)
    if not names.used:
        return reduced
    make, arguments, state, _, _, _ = reduced
    values = state[1]["__globals__"]  # by now, another thread may have assigned others
    origin = namespace.get(ORIGIN)
    versions = {
        name: _version(name, values.get(name, MISSING), origin)
        for name in names.used
        if name in names.assigned or name in _versions or (origin is not None and name in origin.versions)
    }
    missing = tuple(name for name in names.used if name not in values and not name.startswith("__"))
    counter = _counter if origin is None else origin.counter
    return make, arguments, (state, missing, tuple(names.assigned), counter, versions), None, None, set_state
