"""How warnings get from a worker to the caller's filters.

A worker lets all warnings through but for those that the caller's filters made errors when the worker started: these
are raised in the task. What becomes of the others, the caller's filters decide when they arrive.
"""

import builtins
import contextlib
import pickle
import sys
import warnings
from collections.abc import Callable
from contextvars import Context
from typing import Any

from owngil import _core, _reports, _wire
from owngil._protocol import WARNING

__all__ = ["filters_of_worker", "forward", "issue"]

# In the worker

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
        if frame.f_code is _issue.__code__:  # of a worker's own worker
            return str(frame.f_locals["name"])
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
    text = _text(message)
    pickled = None if base is category and _is_plain(message, text) else _pickled(message, category)
    instead = text if base is category else f"{category.__qualname__}: {text}"
    report = (instead, base.__name__, str(filename), int(lineno), _module_of(filename, lineno), pickled, task)
    _reports.send(WARNING, _wire.dumps(report, "a warning cannot be sent"))


def _text(message: Warning | str) -> str:
    try:
        return str(message)
    except Exception as error:
        return f"(a warning that cannot be shown: {type(error).__qualname__})"


def _is_plain(message: Warning | str, text: str) -> bool:
    """Whether it can be made of its class and its text."""
    return isinstance(message, str) or (message.args == (text,) and not message.__dict__)


def _pickled(message: Warning | str, category: type[Warning]) -> bytes | None:
    try:
        if category.__module__ != "__main__" and _core.is_importable(category):
            return pickle.dumps((message, category), 5)
    except Exception:
        pass
    try:
        import cloudpickle

        return cloudpickle.dumps((message, category), 5)  # type: ignore[no-any-return]
    except Exception:
        return None


# At the caller


def filters_of_worker() -> list[tuple[Any, ...]]:
    """Return the filters of a worker that starts now; none: all warnings are to be sent."""
    get = getattr(warnings, "_get_filters", None)  # since 3.14: those of the context
    filters: list[Any] = list(warnings.filters if get is None else get())
    errors = [number for number, entry in enumerate(filters) if entry[0] == "error"]
    if not errors:
        return []
    chosen = [
        ("error" if action == "error" else "always", message, category, module, lineno)
        for action, message, category, module, lineno in filters[: errors[-1] + 1]
        if _core.is_importable(category)
    ]
    return [*chosen, ("always", None, Warning, None, 0)]


_registries: dict[str, dict[Any, Any]] = {}


def issue(parts: _wire.Parts, context_of: Callable[[int], Context | None]) -> None:
    """Issue a worker's warning here, in the context in which the task was submitted if that has filters of its own."""
    text, base, filename, lineno, name, pickled, task = _wire.loads(parts)
    message: Any = getattr(builtins, base)(text)
    category = type(message)
    if pickled is not None:
        with contextlib.suppress(Exception):
            message, category = pickle.loads(pickled)
    context = context_of(task)
    if context is None:
        _issue(message, category, filename, lineno, name)
    else:
        context.copy().run(_issue, message, category, filename, lineno, name)  # that itself may be running already


def _issue(message: Any, category: type[Warning], filename: str, lineno: int, name: str) -> None:
    """Issue a warning as if it came from the module of that name."""
    module = sys.modules.get(name)
    if module is None:
        registry = _registries.setdefault(name, {})
    else:
        registry = vars(module).setdefault("__warningregistry__", {})
    try:
        warnings.warn_explicit(message, category, filename, lineno, name, registry)
    except Warning as error:
        if error is not message:
            raise
        # A filter makes it an error that did not when the worker started. The task has gone on: it is shown.
        warnings.showwarning(message, category, filename, lineno)
