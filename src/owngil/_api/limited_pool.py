"""The pool that `Pool.with_timeout` returns: the pool as an executor whose calls have a limit of time."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from types import TracebackType
from typing import Any, ParamSpec, Protocol, TypeVar

from owngil import _core
from owngil._tasks.future import TaskFuture
from owngil._worker.limits import Limited

__all__ = ["LimitedPool"]

P = ParamSpec("P")
T = TypeVar("T")


class _Limitable(Protocol):
    """What a view needs of its pool."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...

    @property
    def map(self) -> Callable[..., Iterator[Any]]: ...

    def with_timeout(self, seconds: float) -> "LimitedPool": ...

    def interrupt(self) -> None: ...


class LimitedPool(Executor):
    """A pool as `Pool.with_timeout` shows it; see there."""

    def __init__(self, pool: _Limitable, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds
        self._lock = threading.RLock()  # it is taken by `_core.locked` only
        self._closed = False
        self._pending: set[Future[Any]] = set()

    def with_timeout(self, seconds: float) -> "LimitedPool":
        """Return another view of the same pool; this one's limit does not count there."""
        return self._pool.with_timeout(seconds)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As Pool.submit, with the limit."""
        future: Future[T] = _core.locked(self._lock, self._submit, Limited(fn, self._seconds), args, kwargs)
        future.add_done_callback(self._pending.discard)
        return future

    def _submit(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[T]:
        self._check_open()
        future = self._pool.submit(fn, *args, **kwargs)
        self._pending.add(future)
        return future

    def map(self, fn: Callable[..., T], *iterables: Iterable[Any], **options: Any) -> Iterator[T]:  # type: ignore[override]
        """As Pool.map, with the limit for each call of `fn`."""
        self._check_open()
        return self._pool.map(Limited(fn, self._seconds), *iterables, **options)

    def interrupt(self) -> None:
        """As Pool.interrupt, for all tasks of the pool."""
        self._pool.interrupt()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more tasks through this view; the pool and its other views go on.

        Parameters
        ----------
        wait : bool, optional
            Whether to return only when the tasks are done that `submit` was given. Calls of `map` are waited for by
            reading their results.
        cancel_futures : bool, optional
            Whether to cancel those of them that have not started.
        """
        _core.locked(self._lock, setattr, self, "_closed", True)
        pending = list(self._pending)
        if cancel_futures:
            for future in pending:
                future.cancel()
        if wait:
            self._wait(pending)

    def _wait(self, pending: list[Future[Any]]) -> None:
        try:
            for future in pending:
                with contextlib.suppress(CancelledError):
                    future.exception()  # unlike in futures.wait(), Ctrl-C always ends this wait
        except KeyboardInterrupt:
            self._stop(pending)
            raise

    def _stop(self, pending: list[Future[Any]]) -> None:
        for future in pending:
            future.cancel()
        for future in pending:
            if isinstance(future, TaskFuture):
                future.stop()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Shut down. If Ctrl-C has ended the block, cancel the tasks that wait, and interrupt those that run."""
        if isinstance(error, KeyboardInterrupt):
            self.shutdown(wait=False, cancel_futures=True)
            self._stop(list(self._pending))
        self.shutdown()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("no task can be submitted: this view of the pool is shut down")

    def __repr__(self) -> str:
        return f"<{self._pool!r}, {self._seconds} s a call>"
