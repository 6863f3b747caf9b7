"""Delivers log records of workers to the caller's loggers, and tells the workers which levels these take."""

import contextlib
import logging
import pickle
from typing import Any

from owngil import _core, _wire
from owngil._caller.sources import fill_in

__all__ = ["handle", "watch_levels"]


class _Cache(dict[Any, Any]):
    """The cache of a logger. logging clears the caches of all loggers when any level changes."""

    def clear(self) -> None:
        super().clear()
        _publish_level()


_level = _core.Counter()


def _publish_level() -> None:
    """Tell the workers the lowest level that any logger takes."""
    root = logging.root
    levels = [root.level]
    for logger in list(root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.level:
            levels.append(logger.level)
    _level.exchange(max(min(levels), root.manager.disable + 1))


def watch_levels() -> _core.Counter:
    """Return a counter that always has the lowest level which any logger of this interpreter takes."""
    inherited: _core.Counter | None = getattr(logging.root, "callers_level", None)
    if inherited is not None:  # this interpreter is a worker, which forwards the records to its caller
        return inherited
    logger: Any = logging.getLogger("owngil")
    if type(logger._cache) is not _Cache:
        logger._cache = _Cache()
    _publish_level()
    return _level


def handle(parts: _wire.Parts) -> None:
    """Give a worker's record to the logger of the same name here."""
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
