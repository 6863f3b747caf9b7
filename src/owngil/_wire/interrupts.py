"""Tells exceptions that interrupt a rebuilding from those of the object that is rebuilt.

What interrupts says nothing about the object, which can be rebuilt later. An object that raises an exception would
raise it again, or do worse things twice.
"""

import threading
from types import FrameType, TracebackType

from owngil import _core

__all__ = ["is_interrupt"]

_CO_OPTIMIZED = 1  # as inspect has it, which takes long to import
# In a worker, its own thread: that imports this module as it starts.
_WORKER = threading.get_ident()


def _is_handler(frame: FrameType) -> bool:
    """Return whether the frame is of a signal handler: it was called with the frame that it interrupts."""
    interrupted = frame.f_back
    if interrupted is None or not frame.f_code.co_flags & _CO_OPTIMIZED:  # else it is no function's
        return False
    variables = frame.f_locals
    found = any(
        value is interrupted or (type(value) is tuple and any(entry is interrupted for entry in value))
        for value in variables.values()
    )
    if type(variables) is dict:
        # Before 3.13 this is a copy, which the frame keeps. With the exception in it, all frames of the traceback would
        # stay until the next garbage collection.
        variables.clear()
    return found


def is_interrupt(error: BaseException) -> bool:
    """Return whether the exception comes from code that the thread did not call: a signal handler, or an interrupt.

    A signal handler that is written in C is known by KeyboardInterrupt only.
    """
    if not _core.in_main_interpreter():  # the core raises KeyboardInterrupt, and SystemExit in other threads at the end
        kinds = KeyboardInterrupt if threading.get_ident() == _WORKER else (KeyboardInterrupt, SystemExit)
        return isinstance(error, kinds)
    if threading.get_ident() != threading.main_thread().ident:
        return False
    if isinstance(error, KeyboardInterrupt):
        return True
    entry: TracebackType | None = error.__traceback__
    while entry is not None:
        if _is_handler(entry.tb_frame):
            return True
        entry = entry.tb_next
    return False
