"""What comes first in a worker's interpreter, before the rest of owngil is imported there."""

import atexit
import importlib
import operator
import sys
import threading
from typing import Any

from owngil import _core, isolation
from owngil._processes import end_helpers, refuse_fork_and_exec

__all__ = ["import_public", "prepare_worker"]

# Where the public names are, for workers; owngil/__init__.py imports all but one from there in the main interpreter.
_PLACES = {
    "Barrier": "_sync",
    "BoundedSemaphore": "_sync",
    "BrokenPoolError": "_dispatch",
    "Channel": "_channel",
    "ChannelClosed": "_errors",
    "Counter": "_sync",
    "Event": "_sync",
    "Interpreter": "_interpreter",
    "InterpreterPoolExecutor": "_executor",
    "IsolationError": "_errors",
    "Lock": "_sync",
    "Pool": "_pool",
    "RemoteError": "_errors",
    "RemoteTraceback": "_errors",
    "Semaphore": "_sync",
    "Stats": "_stats",
    "WorkerStats": "_stats",
    "empty": "_shared_arrays",
    "full": "_shared_arrays",
    "map": "_default",
    "run": "_default",
    "share": "_shared_arrays",
    "to_interpreter": "_default",
    "trace": "_trace",
    "track": "_progress",
    "worker_local": "_local",
    "zeros": "_shared_arrays",
}


def import_public(name: str) -> Any:
    """Return the public name `name`, and bind it in the package."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'owngil' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"owngil.{place}"), name)
    setattr(sys.modules["owngil"], name, value)
    return value


def _forget_own_thread() -> None:
    """Let go of threading's record of this thread while its module is whole.

    Since 3.13 threading takes a worker's thread for a foreign one, whose record removes itself when the thread's state
    is cleared; before 3.13.3 it prints an error, because its module is gone by then (gh-130522).
    """
    records = getattr(threading, "_thread_local_info", None)
    if records is not None:
        vars(records).clear()


def _hide_signal_handlers() -> None:
    """Let signal.getsignal() tell a worker that a handler is not its own.

    CPython has one table of handlers for the process, and gives any interpreter the main one's objects; asyncio.run()
    asks for one each time.
    """
    # The built-in part of signal, which is there sooner than the rest, and which that asks at each call.
    module: Any = importlib.import_module("_signal")

    def getsignal(signalnum: int, /) -> None:
        """Return None: the handler was not installed by this interpreter."""
        if not 1 <= operator.index(signalnum) < module.NSIG:
            raise ValueError("signal number out of range")

    module.getsignal = getsignal


def prepare_worker() -> None:
    """Install the import hook, and what must be the last to run at the interpreter's end."""
    # On 3.12 pickle's own extension module is one that needs a private copy, so the hook comes before what imports it.
    isolation.install()
    # If no private copy can be had at all, this is where it is said: pickle would go on without its accelerator.
    importlib.import_module("_pickle")
    _hide_signal_handlers()
    refuse_fork_and_exec()
    # The first to be registered are the last to run: when packages, and owngil's own nested pools, have ended.
    atexit.register(isolation.uninstall)
    atexit.register(_core.before_end)
    atexit.register(_forget_own_thread)
    atexit.register(end_helpers)  # when multiprocessing has joined its processes
