"""What workers report beside results: printed text, records of logging, warnings. This is their side.

Each report is a message to the dispatcher, which deals with it before the result of the task; see `_arrivals`.
"""

import atexit
import contextlib
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

from owngil import _core

if TYPE_CHECKING:
    from owngil import _wire

__all__ = ["apply", "go_to", "install", "send"]

worker = ""  # its name
_replies: _core.Queue
_number = 0
level: _core.Counter | None = None  # below it, no logger of the caller's takes a record


def send(kind: int, parts: "_wire.Parts") -> None:
    """Report to the dispatcher."""
    with contextlib.suppress(_core.QueueClosed):  # nobody listens any more
        _replies.put(kind, _number, parts)


def go_to(replies: _core.Queue) -> bool:
    """Whether this worker's reports go to that queue."""
    return _replies == replies


def _show_warning(*args: Any) -> None:
    """Stand in for warnings.showwarning."""
    from owngil import _warnings

    _warnings.forward(*args)


class _Logging:
    """A finder for logging alone, by which it forwards from its first moment on."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "logging":
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        execute: Callable[[ModuleType], None] = loader.exec_module

        def execute_and_install(module: ModuleType) -> None:
            execute(module)
            if _Logging in sys.meta_path:
                sys.meta_path.remove(_Logging)  # type: ignore[arg-type]
            from owngil import _logs

            _logs.install()

        loader.exec_module = execute_and_install
        return spec


def _restore_filters(filters: list[Any]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]


def install(name: str, replies: _core.Queue, number: int) -> None:
    """Let this worker's reports go to `replies`: warnings, and records as soon as there is logging."""
    global worker, _replies, _number
    worker = name
    _replies = replies
    _number = number
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    # What warns after the last Python function, when modules are torn down, is shown by C, and not sent.
    atexit.register(_restore_filters, list(warnings.filters))
    sys.meta_path.insert(0, _Logging)  # type: ignore[arg-type]


def apply(settings: dict[str, Any]) -> None:
    """Report from now on as the caller wants; until then, all is reported."""
    global level
    level = settings["level"]
    # Behind the one of owngil's own.
    warnings.filters[1:] = settings["filters"] or [("always", None, Warning, None, 0)]  # type: ignore[index]
