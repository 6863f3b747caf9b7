"""The standard library's InterpreterPoolExecutor by name, constructor and behaviour, on owngil's workers."""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from owngil._api.pool import Pool
from owngil._tasks.dispatcher import BrokenPoolError

__all__ = ["BrokenInterpreterPool", "InterpreterPoolExecutor"]

# The classes that code which was written for the standard executor may catch, or pass to isinstance().
if TYPE_CHECKING:
    from concurrent.futures.thread import BrokenThreadPool as _Broken
    from concurrent.futures.thread import ThreadPoolExecutor as _Standard
else:
    try:
        from concurrent.futures.interpreter import BrokenInterpreterPool as _Broken
        from concurrent.futures.interpreter import InterpreterPoolExecutor as _Standard
    except ImportError:  # before Python 3.14
        from concurrent.futures.thread import BrokenThreadPool as _Broken
        from concurrent.futures.thread import ThreadPoolExecutor as _Standard

T = TypeVar("T")
_numbers = count()


class BrokenInterpreterPool(BrokenPoolError, _Broken):
    """A worker of an `InterpreterPoolExecutor` could not start, or its initializer failed.

    It is also what the standard library's executor raises: ``concurrent.futures.interpreter.BrokenInterpreterPool``
    from Python 3.14 on, and ``concurrent.futures.thread.BrokenThreadPool``.
    """


class InterpreterPoolExecutor(Pool, _Standard):
    """A `Pool` in place of ``concurrent.futures.InterpreterPoolExecutor``, from Python 3.12 on and with NumPy.

    The constructor, `map`, names of workers and errors are the standard one's; ``isinstance`` says that it is one, on
    Pythons before 3.14 a ThreadPoolExecutor. What `Pool` has besides, this has too. Arguments are copied.

    Parameters
    ----------
    max_workers : int, optional
        How many workers there may be, at least 1. Default: the number of cores that this process may use.
    thread_name_prefix : str, optional
        Workers are named ``prefix_0``, ``prefix_1``, ... Default: ``"InterpreterPoolExecutor-0"`` and so on.
    initializer : callable, optional
        Called in each worker before its first task, with `initargs`. If it raises an exception, the pool is broken:
        tasks that wait, and those that are submitted later, fail with `BROKEN`.
    initargs : tuple, optional
        Arguments of `initializer`.

    Examples
    --------
    >>> with owngil.InterpreterPoolExecutor(2) as executor:
    ...     list(executor.map(lambda x: x * x, range(5)))
    [0, 1, 4, 9, 16]
    """

    BROKEN = BrokenInterpreterPool
    _separator = "_"

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[object, ...] = (),
    ) -> None:
        super().__init__(
            max_workers,
            thread_name_prefix=thread_name_prefix or f"InterpreterPoolExecutor-{next(_numbers)}",
            initializer=initializer,
            initargs=initargs,
            arguments="copy",
        )
        self._dispatcher.broken_error = self.BROKEN

    def map(  # type: ignore[override]
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Return an iterator over ``fn(*items)`` for the items of `iterables` side by side, as Executor.map does.

        Parameters
        ----------
        fn : callable
            Sent once for each chunk.
        *iterables : iterable
            Read up to the end of the shortest, at once; with `buffersize`, as results are read.
        timeout : float, optional
            Seconds from this call after which reading raises TimeoutError. Default: never.
        chunksize : int, optional
            How many items make one task. In the standard executor this has no effect.
        buffersize : int, optional
            How many chunks may be submitted ahead of those that were read. Default: all.

        Raises
        ------
        TimeoutError
            While reading, if `timeout` passes first.
        Exception
            While reading, the first that a call raised, after the results of the calls before it. What has not started
            then is cancelled.
        TypeError, ValueError
            If `buffersize` is no integer, or below 1.
        """
        columns: Iterable[Iterable[Any]] = iterables
        if buffersize is None and not all(hasattr(column, "__len__") for column in iterables):
            columns = list(zip(*zip(*iterables, strict=False), strict=True)) or [()]
        return super().map(fn, *(columns or [()]), timeout=timeout, chunksize=max(1, chunksize), buffersize=buffersize)
