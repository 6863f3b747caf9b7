"""Globals that functions sent by value assign in a worker, for those that read them there later.

Such a function comes with the globals that it uses, in a namespace of its own (cloudpickle), which goes with it. So
what ``global x; x = ...`` has put there would be lost, in an initializer most of all. Here it is kept: names that a
function of ``__main__`` assigns go to the worker's own ``__main__`` when the call has ended, and functions that come
later find them. What the caller has for the same name travels, too, and counts if it is another object than when the
assigning function was sent: nothing is ever older at the worker than at the caller.

This is the receiver's side. The sender's, `global_versions`, counts how often it has found another object: the version
of a global.
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
    "keep_assigned",
    "opened",
    "publish_assigned",
    "set_state",
]

type Namespace = dict[str, Any]
type Version = tuple[bytes, int]  # the interpreter that counts, and how many objects it has found, this one included

MISSING = object()
HOME = "__main__"  # the module whose functions go by value, but for what cloudpickle is told to send so
ORIGIN = "__owngil_origin__"  # in a namespace that came from elsewhere: an Origin
_OPEN_AT_MOST = 16  # namespaces: a task that goes on and on, and receives functions, keeps no more of them


class Origin(NamedTuple):
    """What came with a namespace."""

    counter: bytes
    versions: dict[str, Version]
    objects: Namespace


class _Opened(NamedTuple):
    """A namespace in which a function may assign names."""

    namespace: Namespace
    before: Namespace
    versions: dict[str, Version]


opened: list[_Opened] = []  # by calls that have not ended
_kept: dict[str, dict[bytes, int]] = {}  # names that were assigned, and what their versions were then, of each counter


@cache
def _cloudpickle_set_state() -> Callable[[FunctionType, Any], None]:
    from io import BytesIO

    from cloudpickle import Pickler

    return Pickler(BytesIO()).reducer_override(lambda: 0)[5]  # type: ignore[no-any-return]


def set_state(fn: FunctionType, state: tuple[Any, ...]) -> None:
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
        before = {name: namespace.get(name, MISSING) for name in assigned}
        opened.append(_Opened(namespace, before, {name: versions[name] for name in assigned}))
        while len(opened) > _OPEN_AT_MOST:
            opened.pop(0)


def publish_assigned() -> int:
    """Keep what was assigned in the open namespaces so far, for a function that comes; return how many there are."""
    for entry in opened.copy():
        _keep(entry)
    return len(opened)


def _keep(entry: _Opened) -> None:
    home = sys.modules[HOME].__dict__
    for name, old in entry.before.items():
        new = entry.namespace.get(name, MISSING)
        if new is MISSING and old is not MISSING:
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
