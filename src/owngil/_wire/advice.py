"""Says what to use in place of an object that cannot be sent to another interpreter."""

from collections import deque
from contextvars import ContextVar
from types import BuiltinFunctionType, FunctionType
from typing import Any

from owngil._wire.naming import type_name

__all__ = ["culprit_of"]

_INSTEAD = {
    "_thread.lock": "owngil.Lock",
    "_thread.RLock": "owngil.Lock",
    "_queue.SimpleQueue": "owngil.Channel",
    "queue.Queue": "owngil.Channel",
    "queue.LifoQueue": "owngil.Channel",
    "queue.PriorityQueue": "owngil.Channel",
    "threading.Barrier": "owngil.Barrier",
    "threading.BoundedSemaphore": "owngil.BoundedSemaphore",
    "threading.Condition": "owngil.Event or owngil.Channel",
    "threading.Event": "owngil.Event",
    "threading.Semaphore": "owngil.Semaphore",
    "multiprocessing.queues.JoinableQueue": "owngil.Channel",
    "multiprocessing.queues.Queue": "owngil.Channel",
    "multiprocessing.queues.SimpleQueue": "owngil.Channel",
    "multiprocessing.sharedctypes.Synchronized": "owngil.Counter, or owngil.share with an array",
    "multiprocessing.sharedctypes.SynchronizedArray": "owngil.share with an array",
    "multiprocessing.synchronize.Barrier": "owngil.Barrier",
    "multiprocessing.synchronize.BoundedSemaphore": "owngil.BoundedSemaphore",
    "multiprocessing.synchronize.Condition": "owngil.Event or owngil.Channel",
    "multiprocessing.synchronize.Event": "owngil.Event",
    "multiprocessing.synchronize.Lock": "owngil.Lock",
    "multiprocessing.synchronize.RLock": "owngil.Lock",
    "multiprocessing.synchronize.Semaphore": "owngil.Semaphore",
}


def culprit_of(trail: list[object]) -> tuple[str, str]:
    """Return which object could not be pickled, and what to do about it, as text.

    Parameters
    ----------
    trail : list
        What was pickled, in order: the last object is the one that cannot be.
    """
    if not trail:
        return "an object", ""
    last: Any = trail[-1]
    if type(last) is ContextVar:
        return f"the ContextVar '{last.name}'", ". Pass its value as an argument, or use owngil.worker_local"
    # An Event has a Condition, which has a lock: the Event is what the user knows. Classes and functions come between,
    # and a Queue's deque.
    for obj in reversed(trail):
        if type_name(type(obj)) in _INSTEAD:
            last = obj
        elif not isinstance(obj, type | FunctionType | BuiltinFunctionType | deque):
            break
    name = type_name(type(last))
    instead = _INSTEAD.get(name)
    return f"an object of type '{name}'", f". Use {instead}, which all workers share" if instead else ""
