"""Keeps globals that functions sent by value assign in a worker, for functions that read them there later.

cloudpickle sends such a function with the globals that it uses, in a namespace of its own, which is deleted with the
function. So what ``global x; x = ...`` has assigned there, in an initializer for example, would be lost. This module
publishes it: names that a function of ``__main__`` assigns are copied to the worker's own ``__main__`` when the call
has ended, and functions that come later find them there. The caller's object for the same name is sent, too. It counts
if it is another one than when the assigning function was sent. So no global is older in the worker than at the caller.

This is the receiver's side. The sender's, `global_versions`, counts how often it has found another object under a name:
that is the version of a global.
"""

import sys
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

from owngil import _core

__all__ = [
    "HOME",
    "MISSING",
    "ORIGIN",
    "Namespace",
    "Origin",
    "Version",
    "close_opened",
    "opened",
    "publish_assigned",
    "set_state",
]

type Namespace = dict[str, Any]
type Version = tuple[bytes, int]  # the interpreter that counts, and its number of the object

MISSING = object()
HOME = "__main__"  # the module whose functions are sent by value
ORIGIN = "__owngil_origin__"  # the name of the Origin in a namespace that was received
_OPEN_AT_MOST = 16  # namespaces, so that a long task that receives many functions does not keep them all


class Origin(NamedTuple):
    """What was received with a namespace: the sender's counter, the versions of names, and the objects."""

    counter: bytes
    versions: dict[str, Version]
    objects: Namespace


class _Opened(NamedTuple):
    """A namespace in which a function may assign names."""

    namespace: Namespace
    before: Namespace
    versions: dict[str, Version]


opened: list[_Opened] = []  # namespaces of calls that have not ended
_published: dict[str, dict[bytes, int]] = {}  # by name: of each counter, the version when the name was assigned here


@cache
def _cloudpickle_set_state() -> Callable[[FunctionType, Any], None]:
    from io import BytesIO

    from cloudpickle import Pickler

    return Pickler(BytesIO()).reducer_override(lambda: 0)[5]  # type: ignore[no-any-return]


def set_state(fn: FunctionType, state: tuple[Any, ...]) -> None:
    """Set the state of a function that was received, as cloudpickle does, and connect its globals with ``__main__``."""
    inner, missing, assigned, counter, versions = state
    came: Namespace = inner[1]["__globals__"]
    _cloudpickle_set_state()(fn, inner)
    namespace = fn.__globals__
    origin = namespace.setdefault(ORIGIN, Origin(counter, {}, {}))
    origin.versions.update(versions)
    origin.objects.update(came)
    if _core.in_main_interpreter():
        return
    if opened:
        publish_assigned()
    home = sys.modules[HOME].__dict__
    for name in _published.keys() & {*came, *missing} if _published else ():
        known = _published.get(name, {})
        # Without a version, it is 1: the caller counts from when it has sent a function that assigns the name.
        source, version = versions.get(name, (counter, 1))
        if version > known.get(source, version):  # the caller has assigned the name since
            _published.pop(name, None)
            home.pop(name, None)
        elif source in known and name in home:
            namespace[name] = origin.objects[name] = home[name]
    for name in missing:
        if name in home:
            namespace.setdefault(name, home[name])
    if assigned and _core.in_worker():
        before = {name: namespace.get(name, MISSING) for name in assigned}
        opened.append(_Opened(namespace, before, {name: versions[name] for name in assigned}))
        while len(opened) > _OPEN_AT_MOST:
            opened.pop(0)


def publish_assigned() -> int:
    """Publish what was assigned in the open namespaces so far; return how many there are."""
    for entry in opened.copy():
        _publish(entry)
    return len(opened)


def _publish(entry: _Opened) -> None:
    """Copy what was assigned in a namespace to the worker's own ``__main__``."""
    home = sys.modules[HOME].__dict__
    for name, old in entry.before.items():
        new = entry.namespace.get(name, MISSING)
        if new is MISSING and old is not MISSING:
            home.pop(name, None)
            _published.pop(name, None)
        elif new is not old:
            home[name] = new
            counter, version = entry.versions[name]
            _published[name] = {**_published.get(name, {}), counter: version}
        entry.before[name] = new


def close_opened(since: int = 0) -> None:
    """Publish what was assigned in the open namespaces but for the first `since`, and close these namespaces."""
    while len(opened) > since:
        _publish(opened.pop(since))
