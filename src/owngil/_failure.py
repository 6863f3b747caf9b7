"""How an exception gets from a worker to the caller: taken apart there, rebuilt here."""

import os
import pickle
from collections.abc import Callable

from owngil import _wire
from owngil._errors import RemoteError, RemoteTraceback

__all__ = ["describe_error", "load_error"]

_OWN_FILES = {os.path.join(os.path.dirname(__file__), name) for name in ("_worker.py", "_timeouts.py")}


def _user_traceback(error: BaseException) -> str:
    """Return the traceback without the frames of the worker's own loop."""
    tb = error.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename in _OWN_FILES:
        tb = tb.tb_next

    def make() -> str:
        import traceback  # and with it a dozen modules: only workers that need it pay for it

        return "".join(traceback.format_exception(type(error), error, tb))

    return _text(make)


def _text(make: Callable[[], str]) -> str:
    """Return ``make()``, which runs the user's own __str__ and __repr__, or what to say if that fails."""
    try:
        return make()
    except BaseException as failure:
        return f"(cannot be shown: {type(failure).__qualname__})"


def describe_error(error: BaseException, worker: str) -> _wire.Failure:
    """Take an exception apart so that something sensible arrives whatever it is made of."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    message = _text(lambda: str(error))
    text = f"In worker '{worker}':\n{_user_traceback(error)}"
    pickled: bytes | None
    try:
        import cloudpickle

        pickled, reason = cloudpickle.dumps(error), ""
    except BaseException as problem:
        failure = problem
        pickled, reason = None, _text(lambda: str(failure))
    return name, message, text, pickled, reason


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
    error.__cause__ = RemoteTraceback(text)
    return error
