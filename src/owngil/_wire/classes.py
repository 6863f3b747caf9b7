"""Classes that go by value: what comes back from a worker does not change the class of the interpreter that sent it.

cloudpickle numbers such classes, so that a class which returns is the one that was sent. It would give that class the
state of its copy in the worker.
"""

import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["with_owner"]

_own: "weakref.WeakSet[type]" = weakref.WeakSet()  # classes of this interpreter that it has sent
_received: "weakref.WeakSet[type]" = weakref.WeakSet()


def with_owner(cls: type, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return how to pickle `cls`, given how cloudpickle would, so that its own interpreter leaves it unchanged."""
    if cls not in _received:
        _own.add(cls)
    make, arguments, state, _, _, set_state = reduced
    return make, arguments, (set_state, state), None, None, _set_state


def _set_state(cls: type, state: tuple[Callable[[type, Any], object], Any]) -> None:
    set_state, inner = state
    if cls not in _own:
        _received.add(cls)
        set_state(cls, inner)
