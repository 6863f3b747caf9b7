"""How records of logging get from a worker to the caller's loggers.

A worker's root logger has one handler, which forwards. Until a task configures logging itself, the root logger's level
there is the lowest that any logger of the caller's takes, at any moment; which of those takes a record, the caller
decides. A worker imports this when it imports logging.
"""

import contextlib
import logging
import pickle
import sys
from collections.abc import Callable
from typing import Any

from owngil import _core, _output, _reports, _wire
from owngil._protocol import LOG

__all__ = ["handle", "install", "watch_levels"]

# In the worker

_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})
# What of a record is sent as it is; the rest is made anew.
_PLAIN = (
    "name",
    "levelno",
    "levelname",
    "pathname",
    "filename",
    "module",
    "lineno",
    "funcName",
    "created",
    "msecs",
    "thread",
    "process",
    "processName",
    "taskName",
    "stack_info",
)


def _text(make: Callable[[], object], instead: str) -> str:
    """Return ``str(make())``, which runs the user's own __str__ and __repr__, or `instead` with the reason."""
    try:
        return str(make())
    except Exception as error:
        return f"{instead} ({type(error).__qualname__})"


def _plain(value: Any) -> Any:
    return value if type(value) in (int, float, str, type(None)) else _text(lambda: value, "(cannot be shown)")


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        template = _text(lambda: record.msg, "(a message that cannot be shown)")
        arguments = _text(lambda: repr(record.args), "(arguments that cannot be shown)")
        return f"{template} {arguments} (cannot be merged: {type(error).__qualname__})"


def _pickled(value: object) -> tuple[bytes | None, str]:
    """Return `value` pickled, or None and its text."""
    try:
        if type(value).__module__ != "__main__":  # which is another one at the caller
            return pickle.dumps(value, 5), ""
    except Exception:
        pass
    try:
        import cloudpickle

        return cloudpickle.dumps(value, 5), ""
    except Exception:
        return None, _text(lambda: repr(value), f"(an object of type {type(value).__qualname__})")


def _describe(record: logging.LogRecord) -> tuple[Any, ...]:
    """Return what `handle` needs: plain values, and what `extra` has."""
    values = {key: _plain(getattr(record, key, None)) for key in _PLAIN}
    values["msg"] = _message(record)
    thread = _plain(record.threadName)
    values["threadName"] = thread if thread in (_reports.worker, None) else f"{_reports.worker} {thread}"
    exc_text = record.exc_text
    if record.exc_info and not exc_text:
        exc_info: Any = record.exc_info
        exc_text = _text(lambda: logging.Formatter().formatException(exc_info), "(a traceback that cannot be shown)")
    values["exc_text"] = _plain(exc_text)
    extra = [(str(key), *_pickled(value)) for key, value in vars(record).items() if key not in _STANDARD]
    return tuple(values.items()), tuple(extra)


def _is_console(handler: logging.Handler, record: logging.LogRecord) -> bool:
    if not isinstance(handler, logging.StreamHandler) or record.levelno < handler.level:
        return False
    stream = handler.stream
    return (stream is sys.stdout or stream is sys.stderr or _output.is_stream(stream)) and bool(handler.filter(record))


def _is_printed(record: logging.LogRecord) -> bool:
    """Whether a handler that a task has added prints it: then it arrives as text."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        if any(_is_console(handler, record) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


class Forwarder(logging.Handler):
    """Sends records to the caller."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send `record`, unless it gets there as text."""
        try:
            if not _is_printed(record):
                _reports.send(LOG, _wire.dumps(_describe(record), "a record cannot be sent"))
        except Exception:
            self.handleError(record)


class _Root(logging.RootLogger):
    """A root logger with the caller's level until it gets one of its own."""

    @property
    def level(self) -> int:  # type: ignore[override]
        own: int | None = self.__dict__.get("own_level")
        return _callers_level() if own is None else own

    @level.setter
    def level(self, level: int) -> None:
        self.__dict__["own_level"] = level


def _callers_level() -> int:
    return 0 if _reports.level is None else _reports.level.value


_last_level = 0
_is_enabled_for = logging.Logger.isEnabledFor


def _is_enabled_now(self: logging.Logger, level: int) -> bool:
    """As Logger.isEnabledFor, whose cache does not know when the caller's levels change."""
    global _last_level
    now = _callers_level()
    if now != _last_level:
        _last_level = now
        logging.disable(self.manager.disable)  # as it is: this empties all caches
    return _is_enabled_for(self, level)


_basic_config = logging.basicConfig


def _basic_config_here(**options: Any) -> None:
    """As logging.basicConfig, for which the handler that forwards does not count."""
    root = logging.root
    forwarders = [handler for handler in root.handlers if type(handler) is Forwarder]
    if not options or len(root.handlers) != len(forwarders) or options.get("force"):
        _basic_config(**options)
        return
    for handler in forwarders:
        root.removeHandler(handler)
    try:
        _basic_config(**options)
    finally:
        for handler in forwarders:
            root.addHandler(handler)


def install() -> None:
    """Let this worker's logging forward to the caller's."""
    root = logging.root
    root.__dict__.pop("level", None)
    root.__class__ = _Root
    root.addHandler(Forwarder())
    logging.Logger.isEnabledFor = _is_enabled_now  # type: ignore[method-assign]
    logging.basicConfig = _basic_config_here


# At the caller


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
    if _reports.level is not None and type(logging.root) is _Root and "own_level" not in vars(logging.root):
        return _reports.level  # a worker, whose own workers' records go on to its caller
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
        from owngil._sources import fill_in

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
