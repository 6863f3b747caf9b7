"""Objects that each worker makes for itself, once."""

import atexit
import os
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, Self, TypeVar

from owngil import _core, _wire

__all__ = ["WorkerLocal", "worker_local"]

P = ParamSpec("P")
T = TypeVar("T")


class _Place:
    """Keeps the object of one `worker_local` in this interpreter."""

    __slots__ = ("is_made", "lock", "value")

    def __init__(self) -> None:
        self.is_made = False
        self.value: Any = None
        self.lock = threading.RLock()  # held while a thread makes the object; reentrant, because make() may use it


# By the counter that identifies a worker_local: it belongs to the process, so that it is the same in all interpreters.
_places: dict[_core.Counter, _Place] = {}


class WorkerLocal[T]:
    """What `worker_local` returns: call it to get the object of the worker that calls."""

    __slots__ = ("_call", "_key", "_place", "_saved", "_saving")

    def __init__(self, make: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        self._key = _core.Counter()
        self._call: tuple[Callable[..., T], tuple[Any, ...], dict[str, Any]] | None = (make, args, kwargs)
        self._saved: _wire.SavedCall | None = None  # the call, once it was sent
        self._saving: set[int] = set()  # idents of threads that are pickling it
        self._place: _Place | None = None

    @classmethod
    def _attach(cls, key: _core.Counter, saved: _wire.SavedCall) -> Self:
        self = cls.__new__(cls)
        self._key = key
        self._call = None
        self._saved = saved
        self._saving = set()
        self._place = None
        return self

    def __reduce__(self) -> Any:
        if self._saved is None:
            assert self._call is not None
            thread = threading.get_ident()
            if thread in self._saving:
                raise TypeError("a worker_local whose make(), or an argument of it, refers to that worker_local itself")
            self._saving.add(thread)
            try:
                self._saved = _wire.SavedCall(_wire.dumps_call(*self._call))
            finally:
                self._saving.discard(thread)
        return WorkerLocal._attach, (self._key, self._saved)

    def __call__(self) -> T:
        """Return this worker's object; make it if there is none yet."""
        place = self._place
        if place is None:
            place = self._place = _places.setdefault(self._key, _Place())
        if not place.is_made:
            _core.locked(place.lock, self._make, place)
        value: T = place.value
        return value

    def _make(self, place: _Place) -> None:
        """Make the object; with the place's lock held."""
        if place.is_made:
            return
        if self._call is not None:
            make, args, kwargs = self._call
        else:
            assert self._saved is not None
            make, args, kwargs = self._saved.load()
        value = make(*args, **kwargs)
        if not place.is_made:  # unless make() has waited for a task that made it
            place.value = value
            place.is_made = True

    def __repr__(self) -> str:
        place = _places.get(self._key)
        return f"<owngil.worker_local: {'made' if place is not None and place.is_made else 'not made'} here>"


def worker_local(make: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> WorkerLocal[T]:
    """Return a function that gives each worker an object of its own, made by ``make(*args, **kwargs)`` at first use.

    For what is expensive to make, or cannot be sent: a model, a connection, a large table. The function takes no
    argument. It is passed as an argument, or used by a function that is sent; all copies are the same.

    Parameters
    ----------
    make : callable
        Called where the object is used first, in each worker once, and in the main interpreter if it is used there.
    *args, **kwargs
        Arguments of `make`. They travel as a task's arguments do, as they are when the function is sent first.

    Returns
    -------
    callable
        Returns the object of the worker that calls it. Raises what `make` raises, which is called again the next time.

    Notes
    -----
    An object lives as long as its worker; a worker that is replaced (`max_tasks_per_child`) makes another. If several
    threads of a worker ask for it at once, one makes it, and the others wait.

    Examples
    --------
    >>> import random
    >>> generator = owngil.worker_local(random.Random, 5)
    >>> def draw():
    ...     return generator().randrange(100)
    >>> with owngil.Pool(1) as pool:
    ...     print(pool.submit(draw).result(), pool.submit(draw).result(), draw())
    79 32 79
    """
    if not callable(make):
        raise TypeError(f"make must be callable, not {type(make).__name__}")
    return WorkerLocal(make, args, kwargs)


def _release_locks() -> None:
    """Replace the locks in a forked child: a thread that does not exist there may have held one."""
    for place in _places.values():
        place.lock = threading.RLock()


if _core.in_worker():
    atexit.register(_places.clear)  # while the modules that the objects need are intact
else:
    os.register_at_fork(after_in_child=_release_locks)
