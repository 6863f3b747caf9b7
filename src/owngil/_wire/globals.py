"""Globals that functions sent by value assign in a worker, for those that read them there later.

Such a function comes with the globals that it uses, in a namespace of its own (cloudpickle), which goes with it. So
what ``global x; x = ...`` has put there would be lost, in an initializer most of all. Here it is kept: names that a
function of ``__main__`` assigns go to the worker's own ``__main__`` when the call has ended, and functions that come
later find them. What the caller has for the same name travels, too, and counts if it is another object than when the
assigning function was sent: nothing is ever older at the worker than at the caller.

The caller's side counts how often it has found another object: the version of a global.
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable
from functools import cache
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from owngil import _core

__all__ = ["keep_assigned", "opened", "publish_assigned", "with_versions"]

type _Namespace = dict[str, Any]
type _Version = tuple[bytes, int]  # the interpreter that counts, and how many objects it has found, this one included

_MISSING = object()
_HOME = "__main__"  # the module whose functions go by value, but for what cloudpickle is told to send so
_counter = os.urandom(8)
_ORIGIN = "__owngil_origin__"  # in a namespace that came from elsewhere: an _Origin
_OPEN_AT_MOST = 16  # namespaces: a task that goes on and on, and receives functions, keeps no more of them


class _Origin(NamedTuple):
    """What came with a namespace."""

    counter: bytes
    versions: dict[str, _Version]
    objects: _Namespace


# The caller's side


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


def _version(name: str, value: object, origin: _Origin | None) -> _Version:
    if origin is not None and origin.objects.get(name, _MISSING) is value:  # it is only passed on
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
    if namespace.get("__name__") != _HOME:
        return reduced
    names = _names_of(fn.__code__)
    if not names.used:
        return reduced
    make, arguments, state, _, _, _ = reduced
    values = state[1]["__globals__"]  # what is sent: by now another thread may have bound the names anew
    origin = namespace.get(_ORIGIN)
    versions = {
        name: _version(name, values.get(name, _MISSING), origin)
        for name in names.used
        if name in names.assigned or name in _versions or (origin is not None and name in origin.versions)
    }
    missing = tuple(name for name in names.used if name not in values and not name.startswith("__"))
    counter = _counter if origin is None else origin.counter
    return make, arguments, (state, missing, tuple(names.assigned), counter, versions), None, None, _set_state


# The worker's side


class _Opened(NamedTuple):
    """A namespace in which a function may assign names."""

    namespace: _Namespace
    before: _Namespace
    versions: dict[str, _Version]


opened: list[_Opened] = []  # by calls that have not ended
_kept: dict[str, dict[bytes, int]] = {}  # names that were assigned, and what their versions were then, of each counter


@cache
def _cloudpickle_set_state() -> Callable[[FunctionType, Any], None]:
    from io import BytesIO

    from cloudpickle import Pickler

    return Pickler(BytesIO()).reducer_override(lambda: 0)[5]  # type: ignore[no-any-return]


def _set_state(fn: FunctionType, state: tuple[Any, ...]) -> None:
    inner, missing, assigned, counter, versions = state
    came: _Namespace = inner[1]["__globals__"]
    _cloudpickle_set_state()(fn, inner)
    namespace = fn.__globals__
    origin = namespace.setdefault(_ORIGIN, _Origin(counter, {}, {}))
    origin.versions.update(versions)
    origin.objects.update(came)
    if _core.in_main_interpreter():
        return
    if opened:
        publish_assigned()
    home = sys.modules[_HOME].__dict__
    for name in _kept.keys() & {*came, *missing} if _kept else ():
        kept = _kept.get(name, {})
        # The caller counts from the first function on that assigns, and may have sent the one that reads before.
        source, version = versions.get(name, (counter, 1))
        if version > kept.get(source, version):  # the caller has bound it anew since
            _kept.pop(name, None)
            home.pop(name, None)
        elif source in kept and name in home:
            namespace[name] = origin.objects[name] = home[name]
    for name in missing:
        if name in home:
            namespace.setdefault(name, home[name])
    if assigned and _core.in_worker():
        before = {name: namespace.get(name, _MISSING) for name in assigned}
        opened.append(_Opened(namespace, before, {name: versions[name] for name in assigned}))
        while len(opened) > _OPEN_AT_MOST:
            opened.pop(0)


def publish_assigned() -> int:
    """Keep what was assigned in the open namespaces so far, for a function that comes; return how many there are."""
    for entry in opened.copy():
        _keep(entry)
    return len(opened)


def _keep(entry: _Opened) -> None:
    home = sys.modules[_HOME].__dict__
    for name, old in entry.before.items():
        new = entry.namespace.get(name, _MISSING)
        if new is _MISSING and old is not _MISSING:
            home.pop(name, None)
            _kept.pop(name, None)
        elif new is not old:
            home[name] = new
            counter, version = entry.versions[name]
            _kept[name] = {**_kept.get(name, {}), counter: version}
        entry.before[name] = new


def keep_assigned(since: int = 0) -> None:
    """Keep what was assigned in the namespaces that were opened since there were so many, and close them."""
    while len(opened) > since:
        _keep(opened.pop(since))
