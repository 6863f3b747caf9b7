"""Calls that have a limit of time.

The limit is set and called off in the worker, around each call, by the core (`limits.c`); one thread of the process
waits for all limits. Tasks without one have nothing to do with this.
"""

import threading
from collections.abc import Callable
from typing import Any

from owngil import _core, _wire
from owngil._wire.protocol import GRACE

__all__ = ["Limited"]


class Limited:
    """`fn`, interrupted in the worker where it is called after so many seconds."""

    def __init__(self, fn: Callable[..., Any], seconds: float) -> None:
        self._fn = fn
        self._seconds = seconds
        # For messages, as are the others, which __getattr__ finds.
        self.__module__ = getattr(fn, "__module__", None)  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fn, name)

    def __reduce__(self) -> Any:
        return Limited, (self._fn, self._seconds)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _core.run_limited(self._seconds, GRACE, self._timed_out, self._fn, args, kwargs)

    def _timed_out(self) -> TimeoutError:
        worker = threading.current_thread().name
        return TimeoutError(
            f"{_wire.describe_callable(self._fn)} was interrupted in worker '{worker}' after {self._seconds:g} s,"
            f" the limit that with_timeout() set"
        )
