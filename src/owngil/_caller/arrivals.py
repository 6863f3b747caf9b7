"""The caller's side of what workers report beside results; see `_reports`."""

import sys
from collections.abc import Callable
from contextvars import Context
from typing import Any

from owngil import _logs, _output, _warnings, _wire
from owngil._protocol import LOG, STDERR, STDOUT, WARNING

__all__ = ["REPORTS", "deliver", "keep_contexts", "settings_of_caller"]

REPORTS = frozenset({LOG, STDERR, STDOUT, WARNING})


def settings_of_caller() -> dict[str, Any]:
    """Return how a worker is to report; see `_reports.apply`."""
    return {"level": _logs.watch_levels(), "filters": _warnings.filters_of_worker()}


def keep_contexts() -> bool:
    """Whether it matters in which context a task was submitted."""
    return getattr(sys.flags, "context_aware_warnings", 0) == 1


def deliver(
    kind: int, parts: _wire.Parts, worker: object, prefix: str, context_of: Callable[[int], Context | None]
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
    context_of : callable
        Returns the context in which a task was submitted, by its number, or None.
    """
    if kind == LOG:
        _logs.handle(parts)
    elif kind == WARNING:
        _warnings.issue(parts, context_of)
    else:
        _output.show(kind, worker, prefix, parts)
