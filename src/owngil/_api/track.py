"""Futures of any executor as they are done, with a progress bar."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, as_completed, wait
from time import monotonic
from typing import Any, TypeVar

from owngil._caller.deadline import seconds_left
from owngil._caller.progress import Progress, make_progress

__all__ = ["track"]

T = TypeVar("T")


def track(
    futures: Iterable["Future[T]"],
    progress: Any = True,
    *,
    ordered: bool = False,
    timeout: float | None = None,
) -> Iterator["Future[T]"]:
    """Return an iterator over futures as they are done, with a progress bar.

    As `concurrent.futures.as_completed`, for the futures of any executor; read a future's result to get what its call
    returned or raised. The bar counts futures when they are done, however slowly they are read, and closes when the
    loop is left.

    Parameters
    ----------
    futures : iterable of Future
        Read at once: a generator that submits calls is fine.
    progress : optional
        What shows it; see `Pool.map`. Default: a tqdm bar.
    ordered : bool, optional
        Whether the futures come in the order in which they were given. Each is done when it comes.
    timeout : float, optional
        Seconds from this call after which reading raises TimeoutError. Default: never.

    Raises
    ------
    TimeoutError
        While reading, if `timeout` passes first.
    TypeError
        If there is anything but futures, or `progress` is nothing that can be told.
    ImportError
        If `progress` takes tqdm, and that is not installed.

    Examples
    --------
    >>> with owngil.Pool(2) as pool:
    ...     futures = [pool.submit(pow, 2, k) for k in range(3)]
    ...     sorted(future.result() for future in owngil.track(futures, progress=False))
    [1, 2, 4]
    """
    unique = list(dict.fromkeys(futures))
    for future in unique:
        if not isinstance(future, Future):
            raise TypeError(f"track() takes futures, such as pool.submit() returns, not {type(future).__name__}")
    deadline = None if timeout is None else monotonic() + timeout
    shown = make_progress(progress, len(unique), "tasks")
    values = _read(unique, len(unique), shown, ordered, deadline)
    if shown is not None:
        shown.close_with(values)
        for future in unique:
            shown.add_part()
            future.add_done_callback(lambda _: shown.finish_part(1))
        shown.end_parts()
    return values


def _in_order(futures: "list[Future[T]]", deadline: float | None) -> Iterator["Future[T]"]:
    for k, future in enumerate(futures):
        if not wait([future], seconds_left(deadline)).done:
            raise TimeoutError(f"{len(futures) - k} (of {len(futures)}) futures unfinished")
        yield future


def _read(
    futures: "list[Future[T]]", count: int, progress: Progress | None, ordered: bool, deadline: float | None
) -> Iterator["Future[T]"]:
    try:
        if ordered:
            yield from _in_order(futures, deadline)
        else:
            yield from as_completed(futures, seconds_left(deadline))
        if progress is not None:
            progress.finish_all(count)
            progress.join()
    finally:
        if progress is not None:
            progress.close_soon()
