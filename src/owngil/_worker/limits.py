"""Calls that have a limit of time.

In the worker, the core (bindings/limits.c) sets the limit before each call and clears it afterwards. One thread of the
process waits for all limits. Tasks without a limit do not use this module.
"""

import threading
from collections.abc import Callable
from typing import Any

from owngil import _core, _wire
from owngil._wire.protocol import GRACE

__all__ = ["Limited"]


class Limited:
    """`fn` with a limit: a call is interrupted when it takes longer than `seconds`, in the worker where it runs."""

    def __init__(self, fn: Callable[..., Any], seconds: float) -> None:
        self._fn = fn
        self._seconds = seconds
        # Messages show the module and the name of `fn`. __getattr__ finds the name.
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
