"""A pool of workers with the interface of concurrent.futures."""

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from itertools import count
from operator import index
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar

from owngil import _core, _wire
from owngil._api.limited_pool import LimitedPool
from owngil._isolation.cores import usable_cores
from owngil._tasks.broadcast import results_of_each
from owngil._tasks.dispatcher import Dispatcher
from owngil._tasks.map import MapCalls
from owngil._tasks.owner import OwnerDispatcher
from owngil._tasks.stats import Stats

__all__ = ["Pool"]

P = ParamSpec("P")
T = TypeVar("T")
_names = count(1)


def _check_number(name: str, value: Any) -> int:
    """Return `value`, which must be an integer of 1 or more."""
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, 1 or more, or None, not {value!r}") from None
    if number < 1:
        raise ValueError(f"{name} must be greater than 0, not {number}")
    return number


class Pool(Executor):
    """Workers that run calls in parallel, each with an interpreter and a GIL of its own, all in this process.

    A `concurrent.futures.Executor`, whose documentation holds here, too. No ``if __name__ == "__main__"`` is needed.

    Parameters
    ----------
    max_workers : int, optional
        How many workers there may be, at least 1. They start as they are needed, and one ahead. Default:
        the number of cores that this process may use.
    thread_name_prefix : str, optional
        Workers are named ``prefix-0``, ``prefix-1``, ... Default: ``"pool-1"`` and so on.
    initializer : callable, optional
        Called in each worker before its first task, with `initargs`. If it raises an exception, the pool is broken:
        tasks that wait, and those that are submitted later, fail with `BrokenPoolError`.
    initargs : tuple, optional
        Arguments of `initializer`.
    max_tasks_per_child : int, optional
        After so many tasks a worker is replaced by a new one. Default: never.
    preload : sequence of str, optional
        Names of modules that each worker imports before all else, ``["numpy", "scipy.stats"]`` for one. With it, all
        `max_workers` workers start at once and import at the same time, and only the first tasks wait for that. If
        a module cannot be imported, the pool is broken, as by `initializer`.
    prefix : bool, optional
        Whether the worker's name stands before each line that it prints: ``[pool-1-0] text``.
    arguments : {"lend", "copy"}, optional
        Whether a task sees the memory of arrays and other buffers that it gets, read-only and without a copy, or
        a copy of its own, which it may write to. Shared arrays are shared either way.
    mp_context : optional
        Means nothing here: it is taken so that code for ProcessPoolExecutor runs unchanged.

    Raises
    ------
    ValueError
        If `max_workers` or `max_tasks_per_child` is below 1, or `arguments` is another word.
    TypeError
        If one of these is no integer, `initializer` is not callable, or `preload` is no sequence of names.

    Notes
    -----
    See `Interpreter` on how arguments and results travel.

    A pool may be an argument of its own tasks, and of others': there it runs calls on the same workers. A task that
    waits in `result` for one that no worker has taken runs it itself, and for each worker that has to wait another may
    take its place, beyond `max_workers`; so tasks may wait for tasks. `broadcast`, `stats`, `with_timeout`, `shutdown`
    and ``with`` are for the interpreter that made the pool, and raise RuntimeError elsewhere.

    Examples
    --------
    >>> with owngil.Pool(2) as pool:
    ...     list(pool.map(lambda x: x * x, range(5)))
    [0, 1, 4, 9, 16]
    """

    _separator = "-"

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[object, ...] = (),
        max_tasks_per_child: int | None = None,
        preload: Sequence[str] = (),
        prefix: bool = False,
        arguments: Literal["lend", "copy"] = "lend",
        mp_context: object = None,
    ) -> None:
        if max_workers is None:
            max_workers = usable_cores()
        max_workers = _check_number("max_workers", max_workers)
        if max_tasks_per_child is not None:
            max_tasks_per_child = _check_number("max_tasks_per_child", max_tasks_per_child)
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be callable, not {type(initializer).__name__}")
        names = None if isinstance(preload, str) or not isinstance(preload, Iterable) else tuple(preload)
        if names is None or not all(isinstance(name, str) for name in names):
            raise TypeError(f"preload must be a sequence of module names, such as ['numpy'], not {preload!r}")
        if arguments not in ("lend", "copy"):
            raise ValueError(f"arguments must be 'lend' or 'copy', not {arguments!r}")
        stem = (thread_name_prefix or f"pool-{next(_names)}") + self._separator
        self._max_workers = max_workers
        dispatcher = OwnerDispatcher(
            max_workers,
            lambda number: f"{stem}{number}",
            initializer=initializer,
            initargs=initargs,
            max_tasks=max_tasks_per_child,
            preload=names,
            copies=arguments == "copy",
            prefix=prefix,
        )
        self._dispatcher: Dispatcher = dispatcher
        # When the pool object is deleted, its workers end after the tasks that were submitted.
        self._finalizer = weakref.finalize(self, dispatcher.close)
        self._finalizer.atexit = False  # at exit, the dispatcher closes itself
        if names:
            dispatcher.start_all()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue the call ``fn(*args, **kwargs)`` and return its future.

        Raises
        ------
        TypeError, pickle.PicklingError
            If `fn` or an argument cannot be pickled.
        BrokenPoolError
            If a worker could not start or its initializer failed.
        RuntimeError
            If the pool is shut down.
        """
        return self._dispatcher.submit(_wire.dumps_call(fn, args, kwargs))

    def map(  # type: ignore[override]
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        ordered: bool = True,
        progress: Any = False,
    ) -> Iterator[T]:
        """Return an iterator over ``fn(*items)`` for the items of `iterables` side by side.

        Calls are made ahead of the reader, and a call that raises ends the iteration when it is reached. Items of known
        number (whatever has a length) are taken at once, as the standard library's executors do, and all calls are made
        whether the iterator is read or not. Items of a generator are taken as results are read: it may be endless.

        Parameters
        ----------
        fn : callable
            Sent once for each chunk.
        *iterables : iterable
            Read up to the end of the shortest.
        timeout : float, optional
            Seconds from this call after which reading raises TimeoutError. Default: never.
        chunksize : int, optional
            How many items make one task. More means less overhead and less balance. Default: chunks grow until one
            takes about 5 ms, and get smaller towards the end; 1 if `buffersize` is given.
        buffersize : int, optional
            How many chunks may be submitted ahead of those that were read. Default: all that `iterables` have, or 3 for
            each worker if that is not known.
        ordered : bool, optional
            Whether results come in the order of the items, or as they are done.
        progress : bool, str, callable, tqdm or rich.progress.Progress, optional
            What shows how many calls are done, whether or not their results are read: True, a tqdm bar (as a widget in
            a notebook), with a str as its description; a function, called with ``(done, total)`` after each chunk
            (`total` is None if it is not known), by one thread at a time, which need not be the caller's; a tqdm bar,
            which gets the total if it has none, and stays open; or a rich.progress.Progress, which gets a task. Their
            exceptions are shown as uncaught exceptions are, and lose no results.

        Raises
        ------
        TimeoutError
            While reading, if `timeout` passes first.
        Exception
            While reading, the first that a call raised, after the results of the calls before it. What has not started
            then is cancelled.
        TypeError, ValueError
            If `chunksize` or `buffersize` is no integer, or below 1.
        TypeError
            If `progress` is none of these.
        ImportError
            If `progress` takes tqdm, and that is not installed.
        """
        if not iterables:
            raise TypeError("map() needs at least one iterable")
        for name, value in (("chunksize", chunksize), ("buffersize", buffersize)):
            if value is not None and not hasattr(value, "__index__"):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if value is not None and value < 1:
                raise ValueError(f"{name} must be greater than 0, not {value}")
        deadline = None if timeout is None else time.monotonic() + timeout
        if buffersize is not None and chunksize is None:
            chunksize = 1
        calls = MapCalls(self._dispatcher, self._max_workers, fn, iterables, chunksize, buffersize, ordered, progress)
        return calls.results(deadline)

    def _own(self, what: str) -> OwnerDispatcher:
        """Return the dispatcher. Raise RuntimeError, which names `what`, if the pool was handed to this interpreter."""
        if isinstance(self._dispatcher, OwnerDispatcher):
            return self._dispatcher
        where = threading.current_thread().name
        raise RuntimeError(
            f"{what} is for the interpreter that made the pool, which was handed to '{where}'; do it there"
        )

    def broadcast(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Call ``fn(*args, **kwargs)`` once in every worker, wait for all, and return their results.

        Workers that have not started yet are started, so that there are `max_workers`. Each runs the call when it has
        done the task it is at, before those that wait.

        Returns
        -------
        list
            What each worker returned, in the order of the workers' numbers. A worker that ends before its turn is
            replaced by another (`max_tasks_per_child`), whose result stands in its place.

        Raises
        ------
        Exception
            What the call raised in the first worker, in that order, in which it raised; when it has ended in all.
        TypeError, pickle.PicklingError
            If `fn` or an argument cannot be pickled.
        BrokenPoolError
            If a worker could not start or its initializer failed.
        RuntimeError
            If the pool is shut down.

        Notes
        -----
        Ctrl-C while waiting interrupts the call everywhere. A worker that takes the place of another later, by
        `max_tasks_per_child`, has not run it: what every worker needs belongs into `initializer` or `worker_local`.

        Examples
        --------
        >>> with owngil.Pool(2) as pool:
        ...     pool.broadcast(pow, 2, 10)
        [1024, 1024]
        """
        dispatcher = self._own("Pool.broadcast()")
        return results_of_each(dispatcher.submit_to_each(_wire.dumps_call(fn, args, kwargs)))

    def stats(self) -> Stats:
        """Return what each worker has done so far, those that have ended included: tasks, and where its time went.

        Examples
        --------
        >>> with owngil.Pool(2) as pool:
        ...     results = list(pool.map(abs, range(1000)))
        ...     pool.stats().total.calls
        1000
        """
        return self._own("Pool.stats()").stats()

    def with_timeout(self, seconds: float) -> LimitedPool:
        """Return an executor that runs calls on this pool's workers, and interrupts each that runs for too long.

        The limit is for a call itself: the time in the queue, and that of passing arguments and results, does not
        count. A call that runs for longer is interrupted once, as by `Interpreter.interrupt`, and fails with
        TimeoutError, whatever it raises or returns after that. In `map`, the limit is for each call of the function,
        however many make a chunk.

        Parameters
        ----------
        seconds : float
            More than 0.

        Returns
        -------
        Executor
            With `submit`, `map` and `interrupt` as the pool has them. Its `shutdown`, and the end of a ``with`` block,
            wait for what `submit` was given and end this view only: the pool and its other views go on.

        Raises
        ------
        TypeError
            If `seconds` is no number.
        ValueError
            If it is not more than 0.

        Notes
        -----
        A C function that is running notices when it returns, and so does its call; if that takes long, it is said on
        stderr, with the worker's stack. Tasks without a limit cost nothing more.

        Examples
        --------
        >>> import time
        >>> with owngil.Pool(1, thread_name_prefix="worker") as pool:
        ...     limited = pool.with_timeout(0.05)
        ...     try:
        ...         limited.submit(time.sleep, 0.1).result()
        ...     except TimeoutError as error:
        ...         print(error)
        time.sleep() was interrupted in worker 'worker-0' after 0.05 s, the limit that with_timeout() set
        """
        self._own("Pool.with_timeout()")
        if isinstance(seconds, str) or not hasattr(type(seconds), "__float__"):
            raise TypeError(f"the limit must be a number of seconds, more than 0, not {seconds!r}")
        if not seconds > 0:
            raise ValueError(f"the limit must be more than 0 seconds, not {seconds}")
        return LimitedPool(self, float(seconds))

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in every task that is running; see `Interpreter.interrupt`."""
        self._dispatcher.interrupt()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more tasks, and end the workers when the tasks that were submitted are done.

        Parameters
        ----------
        wait : bool, optional
            Whether to return only when the workers have ended.
        cancel_futures : bool, optional
            Whether to cancel the tasks that have not started.
        """
        self._own("Pool.shutdown()").shutdown(wait=wait, cancel_futures=cancel_futures)

    def __enter__(self) -> Self:
        self._own("a with block")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._own("a with block").leave(error)

    @classmethod
    def _attach(cls, dispatcher: Dispatcher, max_workers: int) -> "Pool":
        """Return a pool whose tasks `dispatcher` submits."""
        self = cls.__new__(cls)
        self._dispatcher = dispatcher
        self._max_workers = max_workers
        return self

    def __repr__(self) -> str:
        whose = "" if isinstance(self._dispatcher, OwnerDispatcher) else ", of another interpreter"
        workers = f"at most {self._max_workers} worker{'s' if self._max_workers > 1 else ''}"
        return f"<owngil.{type(self).__name__} {self._dispatcher.state}, {workers}{whose}>"

    def __reduce__(self) -> Any:
        lent = self._dispatcher.lend()
        if isinstance(self._dispatcher, OwnerDispatcher):
            _owned[lent[0]] = self
        return _arrive, (*lent, self._max_workers)


# By the pool's queue of tasks: all Python objects of one queue are equal.
_owned: "weakref.WeakValueDictionary[_core.Queue, Pool]" = weakref.WeakValueDictionary()


def _arrive(tasks: _core.Queue, replies: _core.Queue, numbers: _core.Counter, max_workers: int) -> Pool:
    """Return the pool in the interpreter that it was handed to; in its own, return the same object."""
    owned = _owned.get(tasks)
    if owned is not None:
        return owned
    from owngil._tasks.handover import dispatcher_of  # few interpreters get a pool

    return Pool._attach(dispatcher_of(tasks, replies, numbers, max_workers), max_workers)
