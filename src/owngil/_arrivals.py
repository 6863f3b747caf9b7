"""The caller's side of what workers report beside results; see `_reports`."""

import sys
from collections.abc import Callable
from contextvars import Context
from typing import Any

from owngil import _logs, _output, _warnings, _wire
from owngil._protocol import LOG, STDERR, STDOUT, WARNING

__all__ = ["REPORTS", "deliver", "keep_contexts", "settings_of_caller"]

REPORTS = frozenset({LOG, STDERR, STDOUT, WARNING})


def settings_of_caller(names_task: bool) -> dict[str, Any]:
    """Return how a worker is to report; see `_reports.apply`."""
    return {"level": _logs.watch_levels(), "filters": _warnings.filters_of_worker(), "names_task": names_task}


def keep_contexts() -> bool:
    """Whether it matters in which context reports are dealt with."""
    return "ipykernel" in sys.modules or getattr(sys.flags, "context_aware_warnings", 0) == 1


def deliver(
    kind: int,
    parts: _wire.Parts,
    worker: object,
    prefix: str,
    context_of: Callable[[int], Context | None] | None,
) -> None:
    """Do what a report says.

    Parameters
    ----------
    kind, parts
        The message.
    worker : object
        Tells workers apart.
    prefix : str
        Stands before each line that is printed.
    context_of : callable, optional
        Returns the context of a task by its number, if that stands behind the parts.
    """
    context = None
    if context_of is not None:
        *rest, task = parts
        parts = tuple(rest)
        context = context_of(int(task))  # type: ignore[arg-type]
    call: Callable[..., None]
    arguments: tuple[Any, ...]
    if kind == LOG:
        call, arguments = _logs.handle, (parts,)
    elif kind == WARNING:
        call, arguments = _warnings.issue, (parts,)
    else:
        call, arguments = _output.show, (kind, worker, prefix, parts)
    if context is None:
        call(*arguments)
    else:
        context.copy().run(call, *arguments)  # a copy, because this may be in one of the same task's already
