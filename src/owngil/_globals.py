"""Globals that functions sent by value assign in a worker, for those that read them there later.

Such a function comes with the globals that it uses, in a namespace of its own (cloudpickle), which goes with it. So
what ``global x; x = ...`` has put there would be lost, in an initializer most of all. Here it is kept: names that a
function of ``__main__`` assigns go to the worker's own ``__main__`` when the call has ended, and functions that come
later find them. What the caller has for the same name travels, too, and counts if it is another object than when the
assigning function was sent: nothing is ever older at the worker than at the caller.

The caller's side counts how often it has found another object: the version of a global.
"""

import builtins
import os
import sys
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
_interpreter = os.urandom(8)
_ORIGIN = "__owngil_versions__"  # in a namespace that came from elsewhere: the versions that came with it


# The caller's side


class _Names(NamedTuple):
    assigned: frozenset[str]
    used: frozenset[str]  # read, or assigned


_names: "weakref.WeakKeyDictionary[CodeType, _Names]" = weakref.WeakKeyDictionary()
_versions: dict[str, tuple[object, int]] = {}  # of each name that any function assigns: what it was last, its version


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


def _version(name: str, namespace: _Namespace) -> _Version:
    origin: dict[str, _Version] = namespace.get(_ORIGIN, {})
    if name in origin:  # it is only passed on
        return origin[name]
    value = namespace.get(name, _MISSING)
    last, version = _versions.get(name, (None, 0))
    if version == 0 or last is not value:
        version += 1
        _versions[name] = (value, version)
    return _interpreter, version


def with_versions(fn: FunctionType, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return how to pickle `fn`, given how cloudpickle would: so that it finds what others have assigned."""
    namespace = fn.__globals__
    if namespace.get("__name__") != _HOME:
        return reduced
    names = _names_of(fn.__code__)
    if not names.used:
        return reduced
    versions = {name: _version(name, namespace) for name in names.used if name in names.assigned or name in _versions}
    make, arguments, state, _, _, _ = reduced
    missing = tuple(name for name in names.used if name not in namespace and not hasattr(builtins, name))
    return make, arguments, (state, missing, tuple(names.assigned), versions), None, None, _set_state


# The worker's side


class _Opened(NamedTuple):
    """A namespace in which a function may assign names."""

    namespace: _Namespace
    before: dict[str, object]
    versions: dict[str, _Version]


opened: list[_Opened] = []  # by calls that have not ended
_kept: dict[str, _Version] = {}  # names that were assigned, and their version at that time


def _is_current(kept: _Version | None, came: _Version | None) -> bool:
    """Whether the caller still has what it had when the name was assigned here.

    It counts from the first function on that assigns, and may have sent the one that reads before.
    """
    return kept is not None and (kept == came if came is not None else kept[1] == 1)


@cache
def _cloudpickle_set_state() -> Callable[[FunctionType, Any], None]:
    from io import BytesIO

    from cloudpickle import Pickler

    return Pickler(BytesIO()).reducer_override(lambda: 0)[5]  # type: ignore[no-any-return]


def _set_state(fn: FunctionType, state: tuple[Any, ...]) -> None:
    inner, missing, assigned, versions = state
    names = list(inner[1]["__globals__"])  # those that come along
    _cloudpickle_set_state()(fn, inner)
    namespace = fn.__globals__
    if versions:
        namespace.setdefault(_ORIGIN, {}).update(versions)
    if _core.in_main_interpreter():
        return
    home = sys.modules[_HOME].__dict__
    for name in _kept.keys() & {*names, *missing} if _kept else ():
        if not _is_current(_kept.get(name), versions.get(name)):
            _kept.pop(name, None)
            home.pop(name, None)
        elif name in home:
            namespace[name] = home[name]
    for name in missing:
        if name in home:
            namespace.setdefault(name, home[name])
    if assigned and _core.in_worker():
        before = {name: namespace.get(name, _MISSING) for name in assigned}
        opened.append(_Opened(namespace, before, {name: versions[name] for name in assigned}))


def _keep(entry: _Opened) -> None:
    home = sys.modules[_HOME].__dict__
    for name, old in entry.before.items():
        new = entry.namespace.get(name, _MISSING)
        if new is _MISSING and old is not _MISSING:
            home.pop(name, None)
            _kept.pop(name, None)
        elif new is not old:
            home[name] = new
            _kept[name] = entry.versions[name]
        entry.before[name] = new


def publish_assigned() -> int:
    """Keep what was assigned so far, for a call within the one that runs; return how many namespaces are open."""
    for entry in opened.copy():
        _keep(entry)
    return len(opened)


def keep_assigned(since: int = 0) -> None:
    """Keep what was assigned in the namespaces that were opened since there were so many, and close them."""
    while len(opened) > since:
        _keep(opened.pop(since))
