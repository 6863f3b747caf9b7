"""Issues the warnings of workers at the caller, whose filters decide what becomes of them."""

import builtins
import contextlib
import pickle
import sys
import warnings
from collections.abc import Callable
from contextvars import Context
from typing import Any

from owngil import _core, _wire

__all__ = ["filters_of_worker", "issue"]


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


def _issue(message: Any, category: type[Warning], filename: str, lineno: int, owngil_module_name: str) -> None:
    """Issue a warning as if it came from the module of that name.

    If this is a worker itself, which forwards the warning, it finds the name by that of the parameter.
    """
    name = owngil_module_name
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
