"""Waits for a call that all workers of a pool make."""

from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Any

from owngil._tasks.future import TaskFuture

__all__ = ["results_of_each"]


def _is_from(error: BaseException, future: TaskFuture) -> bool:
    """Return whether the task raised `error`, and not the wait for it."""
    if future.cancelled():  # for example by an interrupt of the wait, which cancels tasks that no worker has taken
        return isinstance(error, CancelledError)
    return future.done() and future.exception() is error


def results_of_each(futures: Sequence[TaskFuture]) -> list[Any]:
    """Wait for all futures, and return their results; or raise the exception of the first that failed.

    When the wait is interrupted, the tasks that have not ended are stopped.
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
        # Drop the references: the traceback of an exception holds this frame.
        failure = None
        del futures
        future = other = None  # type: ignore[assignment]
    return results
