"""Delivers what workers report beside results: printed text, log records, warnings."""

from collections.abc import Callable
from contextvars import Context

from owngil import _wire
from owngil._caller import logging, stdio, warnings
from owngil._wire.protocol import LOG, STDERR, STDOUT, WARNING

__all__ = ["REPORTS", "deliver"]

REPORTS = frozenset({LOG, STDERR, STDOUT, WARNING})


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
        logging.handle(parts)
    elif kind == WARNING:
        warnings.issue(parts, context_of)
    else:
        stdio.show(kind, worker, prefix, parts)
