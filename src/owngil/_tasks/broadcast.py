"""Waiting for a call that all workers of a group make."""

from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Any

from owngil._tasks.future import TaskFuture

__all__ = ["results_of_each"]


def _is_from(error: BaseException, future: TaskFuture) -> bool:
    """Return whether the task raised `error`, and not the wait for it."""
    if future.cancelled():  # by an interrupt of the wait, for one, which cancels what no worker has
        return isinstance(error, CancelledError)
    return future.done() and future.exception() is error


def results_of_each(futures: Sequence[TaskFuture]) -> list[Any]:
    """Wait for all, and return their results; or raise what the first of them raised that did.

    An interrupt of the wait is one of what has not ended.
    """
    results: list[Any] = []
    failure: BaseException | None = None
    try:
        for future in futures:
            try:
                results.append(future.result())
            except BaseException as error:
                if not _is_from(error, future):
                    for other in futures:
                        other.stop()
                    raise
                failure = error if failure is None else failure
        if failure is not None:
            raise failure
    finally:
        # An exception's traceback holds this frame.
        failure = None
        del futures
        future = other = None  # type: ignore[assignment]
    return results
