"""Takes a task's exception apart, so that the caller can rebuild it."""

import contextlib
import os
import pickle
from collections.abc import Callable
from types import TracebackType
from typing import Any

from owngil import _wire

__all__ = ["describe_error"]

_OWN_FILES = {os.path.join(os.path.dirname(__file__), name) for name in ("main.py", "calls.py", "limits.py")}


def _split(error: BaseException) -> tuple[dict[str, Any], TracebackType | None]:
    """Return the variables of the frame of owngil that called the task's function, and the traceback from there on."""
    tb = error.__traceback__
    variables: dict[str, Any] = {}
    while tb is not None and tb.tb_frame.f_code.co_filename in _OWN_FILES:
        variables = tb.tb_frame.f_locals
        tb = tb.tb_next
    return variables, tb


def _call(error: BaseException) -> str:
    """Return the call and its arguments as text; empty if nothing was called."""
    from owngil._worker.shown_calls import show_call

    variables, _ = _split(error)
    fn = variables.get("fn")
    if fn is not None:
        name = getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None) or type(fn).__qualname__
        if "columns" in variables:  # of a map: the first item without a value has failed
            at = len(variables["values"])
            return ", calling " + show_call(name, tuple(column[at] for column in variables["columns"]), {})
        return ", calling " + show_call(name, variables.get("args", ()), variables.get("kwargs", {}))
    if "code" in variables:
        return ", calling " + show_call("exec", (variables["code"].strip(),), variables["names"])
    return ""


def _show(error: BaseException) -> str:
    import traceback  # lazily, because it imports a dozen modules

    _, tb = _split(error)
    return "".join(traceback.format_exception(type(error), error, tb))


def _text(make: Callable[[], str]) -> str:
    """Return ``make()``, which runs the user's own __str__ and __repr__, or the reason if that fails."""
    try:
        return make()
    except BaseException as failure:
        return f"(cannot be shown: {type(failure).__qualname__})"


# A plain MemoryError, for when there is no memory to pickle the one that was raised.
_MEMORY_ERROR = _wire.Saved((pickle.dumps(MemoryError(), 5),))


_READ_ONLY = ("read-only", "readonly", "read only")
_REMEDIES = (
    "owngil lends arguments to workers without a copy, and read-only. To write to one, copy it first (.copy()), share"
    " it (owngil.share), or make the pool with arguments='copy'."
)


def _advise(error: BaseException) -> None:
    """Add a note to an exception that comes of writing to what is read-only."""
    at: BaseException | None = error
    for _ in range(10):  # a library may raise another exception while it handles NumPy's
        if at is None:
            return
        if isinstance(at, Exception) and any(words in _text(at.__str__) for words in _READ_ONLY):
            with contextlib.suppress(Exception):  # a frozen exception takes no note
                error.add_note(_REMEDIES)
            return
        at = at.__cause__ or at.__context__


def describe_error(error: BaseException, worker: str) -> _wire.Failure:
    """Take an exception apart: into its text and traceback, and itself if it can be pickled."""
    kind = type(error)
    _advise(error)
    message = _text(lambda: str(error))
    text = f"In worker '{worker}'{_text(lambda: _call(error))}:\n{_text(lambda: _show(error))}"
    saved: _wire.Saved | None
    try:
        saved, reason = _wire.Saved(_wire.dumps(error, "it cannot be sent back")), ""
    except BaseException as problem:
        failure = problem
        saved, reason = _MEMORY_ERROR if kind is MemoryError else None, _text(lambda: str(failure))
    return _wire.type_name(kind), message, text, saved, reason
