"""What workers report beside results: printed text, records of logging, warnings. This is their side.

Each report is a message to the dispatcher, which deals with it before the result of the task; see `_arrivals`.
"""

import atexit
import contextlib
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

from owngil import _core
from owngil._startup import after_import

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


def _forward_logging(_: ModuleType) -> None:
    from owngil import _logs

    _logs.install()


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
    after_import("logging", _forward_logging)


def apply(settings: dict[str, Any]) -> None:
    """Report from now on as the caller wants; until then, all is reported."""
    global level
    level = settings["level"]
    # Behind the one of owngil's own.
    warnings.filters[1:] = settings["filters"] or [("always", None, Warning, None, 0)]  # type: ignore[index]
