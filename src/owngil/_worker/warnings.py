"""Forwards a worker's warnings to the caller's filters.

A worker lets all warnings through but for those that the caller's filters made errors when the worker started: these
are raised in the task. What becomes of the others, the caller's filters decide when they arrive.
"""

import sys
import warnings
from typing import Any

from owngil import _core, _wire
from owngil._wire.protocol import WARNING
from owngil._worker.reports import send
from owngil._worker.values import pickled, text_of

__all__ = ["forward"]

_MOST = 100  # of one place in one task: a warning in a loop is not to fill the memory
_counts: dict[tuple[object, ...], int] = {}
_counted_task = 0


def _is_one_too_many(task: int, place: tuple[object, ...]) -> bool:
    global _counted_task
    if task != _counted_task:
        _counts.clear()
        _counted_task = task
    count = _counts[place] = _counts.get(place, 0) + 1
    return count > _MOST


def _module_of(filename: str, lineno: int) -> str:
    """Return the name of the module that is at this place now, by which filters may go."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        if "owngil_module_name" in frame.f_code.co_varnames:  # of this worker's own worker: see the caller's half
            return str(frame.f_locals["owngil_module_name"])
        if frame.f_code.co_filename == filename and frame.f_lineno == lineno:
            name = frame.f_globals.get("__name__")
            if isinstance(name, str):
                return name
        frame = frame.f_back
    return filename.removesuffix(".py")  # as warnings.warn_explicit


def forward(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Do what warnings.showwarning does, at the caller."""
    if file is not None:
        file.write(warnings.formatwarning(message, category, filename, lineno, line))
        return
    task = _core.current_task()
    if _is_one_too_many(task, (category, filename, lineno)):
        return
    base = next(kind for kind in category.__mro__ if kind.__module__ == "builtins")
    text = text_of(lambda: message, "(a warning that cannot be shown)")
    data = None if base is category and _is_plain(message, text) else pickled((message, category), category)
    instead = text if base is category else f"{category.__qualname__}: {text}"
    report = (instead, base.__name__, str(filename), int(lineno), _module_of(filename, lineno), data, task)
    send(WARNING, _wire.dumps(report, "a warning cannot be sent"))


def _is_plain(message: Warning | str, text: str) -> bool:
    """Whether it can be made of its class and its text."""
    return isinstance(message, str) or (message.args == (text,) and not message.__dict__)
