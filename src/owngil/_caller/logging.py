"""Lets the caller's loggers take the records of its workers, and tells the workers which levels they take."""

import contextlib
import logging
import pickle
from typing import Any

from owngil import _core, _wire
from owngil._caller.sources import fill_in

__all__ = ["handle", "watch_levels"]


class _Cache(dict[Any, Any]):
    """A logger's cache of what is enabled; logging empties those of all loggers whenever a level changes."""

    def clear(self) -> None:
        super().clear()
        _note_level()


_level = _core.Counter()


def _note_level() -> None:
    """Tell the workers the lowest level that any logger takes."""
    root = logging.root
    levels = [root.level]
    for logger in list(root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.level:
            levels.append(logger.level)
    _level.exchange(max(min(levels), root.manager.disable + 1))


def watch_levels() -> _core.Counter:
    """Return the lowest level that any logger of this interpreter takes, now and from now on."""
    inherited: _core.Counter | None = getattr(logging.root, "callers_level", None)
    if inherited is not None:  # this is a worker, whose own workers' records go on to its caller
        return inherited
    logger: Any = logging.getLogger("owngil")
    if type(logger._cache) is not _Cache:
        logger._cache = _Cache()
    _note_level()
    return _level


def handle(parts: _wire.Parts) -> None:
    """Let this interpreter's logger of that name do what it does with a worker's record."""
    values, extra = _wire.loads(parts)
    record = logging.makeLogRecord({})
    since_start = record.relativeCreated / 1000 - record.created
    vars(record).update(values)
    if record.exc_text:
        record.exc_text = fill_in(record.exc_text)
    record.relativeCreated = (since_start + record.created) * 1000
    for key, pickled, text in extra:
        value = text
        if pickled is not None:
            value = "(an object that cannot be rebuilt here)"
            with contextlib.suppress(Exception):
                value = pickle.loads(pickled)
        vars(record)[key] = value
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
