"""Rebuilds at the caller the exceptions of workers."""

import pickle

from owngil import _wire
from owngil._caller.sources import fill_in
from owngil._errors import RemoteError, RemoteTraceback

__all__ = ["load_error"]


def load_error(failure: _wire.Failure) -> BaseException:
    """Rebuild an exception of a worker's, or stand in for it."""
    type_name, message, text, pickled, reason = failure
    error: BaseException | None = None
    if pickled is not None:
        try:
            error = pickle.loads(pickled)
        except Exception as problem:
            reason = f"{type(problem).__name__}: {problem}"
    if not isinstance(error, BaseException):
        error = RemoteError(type_name, message, reason)
    error.__cause__ = RemoteTraceback(fill_in(text))
    return error
