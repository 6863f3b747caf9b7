"""Forwards a worker's log records to the caller's loggers.

A worker's root logger has one handler, which forwards. Until a task configures logging itself, the root logger's level
there is the lowest that any logger of the caller's takes, at any moment; which of those takes a record, the caller
decides. A worker imports this when it imports logging.
"""

import logging
import sys
from typing import Any

from owngil import _core, _wire
from owngil._wire.protocol import LOG
from owngil._worker import reports
from owngil._worker.reports import send
from owngil._worker.stdio import is_stream
from owngil._worker.values import pickled, text_of

__all__ = ["install"]

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


def _plain(value: Any) -> Any:
    return value if type(value) in (int, float, str, type(None)) else text_of(lambda: value, "(cannot be shown)")


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        template = text_of(lambda: record.msg, "(a message that cannot be shown)")
        arguments = text_of(lambda: repr(record.args), "(arguments that cannot be shown)")
        return f"{template} {arguments} (cannot be merged: {type(error).__qualname__})"


def _pack(value: object) -> tuple[bytes | None, str]:
    """Return `value` pickled, or None and its text."""
    kind = type(value)
    data = pickled(value, kind)
    return data, "" if data is not None else text_of(lambda: repr(value), f"(an object of type {kind.__qualname__})")


def _describe(record: logging.LogRecord) -> tuple[Any, ...]:
    """Return what `handle` needs: plain values, and what `extra` has."""
    values = {key: _plain(getattr(record, key, None)) for key in _PLAIN}
    values["msg"] = _message(record)
    thread = _plain(record.threadName)
    values["threadName"] = thread if thread in (reports.worker_name, None) else f"{reports.worker_name} {thread}"
    exc_text = record.exc_text
    if record.exc_info and not exc_text:
        exc_info: Any = record.exc_info
        exc_text = text_of(lambda: logging.Formatter().formatException(exc_info), "(a traceback that cannot be shown)")
    values["exc_text"] = _plain(exc_text)
    extra = [(str(key), *_pack(value)) for key, value in vars(record).items() if key not in _STANDARD]
    return tuple(values.items()), tuple(extra)


def _is_console(handler: logging.Handler, record: logging.LogRecord) -> bool:
    if not isinstance(handler, logging.StreamHandler) or record.levelno < handler.level:
        return False
    stream = handler.stream
    return (stream is sys.stdout or stream is sys.stderr or is_stream(stream)) and bool(handler.filter(record))


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
                send(LOG, _wire.dumps(_describe(record), "a record cannot be sent"))
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

    @property
    def callers_level(self) -> _core.Counter | None:
        """The caller's level, which this worker's own workers take over too; None if a task has set another."""
        return None if "own_level" in self.__dict__ else reports.callers_level


def _callers_level() -> int:
    return 0 if reports.callers_level is None else reports.callers_level.value


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
