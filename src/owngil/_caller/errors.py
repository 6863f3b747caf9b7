"""Rebuilds at the caller the exceptions of workers."""

from owngil import _wire
from owngil._caller.sources import fill_in
from owngil._errors import RemoteError, RemoteTraceback
from owngil._wire.interrupts import is_interrupt

__all__ = ["load_error"]

_set_cause = BaseException.__cause__.__set__  # type: ignore[union-attr]  # a frozen exception takes no attributes


def load_error(failure: _wire.Failure) -> BaseException:
    """Rebuild a worker's exception; if that is impossible, return a RemoteError."""
    type_name, message, text, saved, reason = failure
    error: BaseException | None = None
    if saved is not None:
        try:
            error = saved.load()
        except Exception as problem:
            if is_interrupt(problem):
                raise
            reason = f"{type(problem).__name__}: {problem}"
    if not issubclass(type(error), BaseException):
        error = RemoteError(type_name, message, reason)
    assert error is not None
    _set_cause(error, RemoteTraceback(fill_in(text)))
    return error
