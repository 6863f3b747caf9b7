"""The default pool, which starts at its first use."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ParamSpec, TypeVar

from owngil._api.pool import Pool

__all__ = ["map", "run", "to_interpreter"]

P = ParamSpec("P")
T = TypeVar("T")

_pool: Pool | None = None


def _default_pool() -> Pool:
    global _pool
    if _pool is None:
        pool = Pool(thread_name_prefix="owngil")  # it has no worker before its first task
        if _pool is None:  # no other thread can run between this and the next line
            _pool = pool
    return _pool


def _after_fork() -> None:
    """Forget the pool in a forked child, which has none of its workers."""
    global _pool
    _pool = None


os.register_at_fork(after_in_child=_after_fork)


def run(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``fn(*args, **kwargs)`` in a worker of the default pool, and return its result.

    The default pool starts at its first use, has a worker for each core that this process may use, and ends with the
    process.

    Ctrl-C while waiting interrupts the call.

    Raises
    ------
    Exception
        Whatever `fn` raises.
    TypeError, pickle.PicklingError
        If `fn`, an argument or the result cannot be pickled.

    Examples
    --------
    >>> owngil.run(pow, 2, 10)
    1024
    """
    future = _default_pool().submit(fn, *args, **kwargs)
    try:
        return future.result()
    finally:
        del future  # it holds the exception, whose traceback holds this frame


def map(fn: Callable[..., T], *iterables: Iterable[Any], **options: Any) -> Iterator[T]:
    """Return an iterator over ``fn(*items)``, computed by the default pool; see `Pool.map` and `run`.

    Examples
    --------
    >>> list(owngil.map(lambda x, y: x + y, [1, 2, 3], [10, 20, 30]))
    [11, 22, 33]
    """
    return _default_pool().map(fn, *iterables, **options)


async def to_interpreter(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``fn(*args, **kwargs)`` in a worker of the default pool, without blocking the event loop; see `run`.

    If the coroutine is cancelled, as by Ctrl-C in ``asyncio.run``, so is the call, or it is interrupted if it runs.

    Examples
    --------
    >>> import asyncio
    >>> asyncio.run(owngil.to_interpreter(pow, 2, 10))
    1024
    """
    import asyncio  # lazily, because workers import this module, too

    future = _default_pool().submit(fn, *args, **kwargs)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.stop()  # type: ignore[attr-defined]
        raise
    finally:
        del future  # as in run()
