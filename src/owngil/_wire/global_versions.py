"""Versions of the globals that functions sent by value read: what tells a receiver whose object counts; see `globals`.

A version counts how often this interpreter has found another object under the name.
"""

import os
import threading
import weakref
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from owngil._wire.globals import HOME, MISSING, ORIGIN, Origin, Version, set_state

__all__ = ["with_versions"]

_counter = os.urandom(8)  # tells this interpreter from others that count


class _Names(NamedTuple):
    assigned: frozenset[str]
    used: frozenset[str]  # read, or assigned


_names: "weakref.WeakKeyDictionary[CodeType, _Names]" = weakref.WeakKeyDictionary()
_versions: dict[str, tuple[Callable[[], object], int]] = {}  # of each name that any function assigns: what it was last
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
    """Return what returns the object: a weak reference if there may be one, as to an array."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


def _version(name: str, value: object, origin: Origin | None) -> Version:
    if origin is not None and origin.objects.get(name, MISSING) is value:  # it is only passed on
        return origin.versions.get(name, (origin.counter, 1))
    with _counting:
        last, version = _versions.get(name, (None, 0))
        if last is None or last() is not value:
            version += 1
            _versions[name] = (_reference(value), version)
    return _counter, version


def with_versions(fn: FunctionType, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return how to pickle `fn`, given how cloudpickle would: so that it finds what others have assigned."""
    namespace = fn.__globals__
    if namespace.get("__name__") != HOME:
        return reduced
    names = _names_of(fn.__code__)
    if not names.used:
        return reduced
    make, arguments, state, _, _, _ = reduced
    values = state[1]["__globals__"]  # what is sent: by now another thread may have bound the names anew
    origin = namespace.get(ORIGIN)
    versions = {
        name: _version(name, values.get(name, MISSING), origin)
        for name in names.used
        if name in names.assigned or name in _versions or (origin is not None and name in origin.versions)
    }
    missing = tuple(name for name in names.used if name not in values and not name.startswith("__"))
    counter = _counter if origin is None else origin.counter
    return make, arguments, (state, missing, tuple(names.assigned), counter, versions), None, None, set_state
