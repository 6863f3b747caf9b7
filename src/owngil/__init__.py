"""Sub-interpreters for numeric Python: one process, one OS thread and one GIL per worker, NumPy in every one."""

import importlib
from typing import TYPE_CHECKING

try:
    from owngil import _core
except ImportError:  # there is none for platforms that owngil cannot work on
    from owngil import _platform

    _platform.check()
    raise

if _core.in_worker() and not TYPE_CHECKING:
    from owngil._worker import startup

    startup.prepare_worker()
    del startup

else:
    from owngil._api.channel import Channel
    from owngil._api.default_pool import map, run, to_interpreter
    from owngil._api.interpreter import Interpreter
    from owngil._api.pool import Pool
    from owngil._api.shared_arrays import empty, full, share, zeros
    from owngil._api.sync import Barrier, BoundedSemaphore, Counter, Event, Lock, Semaphore
    from owngil._api.trace import trace
    from owngil._api.track import track
    from owngil._api.worker_local import worker_local
    from owngil._errors import ChannelClosed, IsolationError, RemoteError, RemoteTraceback
    from owngil._tasks.dispatcher import BrokenPoolError
    from owngil._tasks.stats import Stats, WorkerStats
    from owngil._version import __version__ as __version__

if TYPE_CHECKING:
    from owngil._api.executor import InterpreterPoolExecutor
else:
    # A worker that only runs tasks does without most public names: where each is, for when it is asked for.
    _PLACES = {
        "Barrier": "_api.sync",
        "BoundedSemaphore": "_api.sync",
        "BrokenPoolError": "_tasks.dispatcher",
        "Channel": "_api.channel",
        "ChannelClosed": "_errors",
        "Counter": "_api.sync",
        "Event": "_api.sync",
        "Interpreter": "_api.interpreter",
        "InterpreterPoolExecutor": "_api.executor",
        "IsolationError": "_errors",
        "Lock": "_api.sync",
        "Pool": "_api.pool",
        "RemoteError": "_errors",
        "RemoteTraceback": "_errors",
        "Semaphore": "_api.sync",
        "Stats": "_tasks.stats",
        "WorkerStats": "_tasks.stats",
        "__version__": "_version",
        "empty": "_api.shared_arrays",
        "full": "_api.shared_arrays",
        "map": "_api.default_pool",
        "run": "_api.default_pool",
        "share": "_api.shared_arrays",
        "to_interpreter": "_api.default_pool",
        "trace": "_api.trace",
        "track": "_api.track",
        "worker_local": "_api.worker_local",
        "zeros": "_api.shared_arrays",
    }

    def __getattr__(name):
        """Import a public name when it is asked for, and bind it here."""
        place = _PLACES.get(name)
        if place is None:
            raise AttributeError(f"module 'owngil' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"owngil.{place}"), name)
        globals()[name] = value
        return value


__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "BrokenPoolError",
    "Channel",
    "ChannelClosed",
    "Counter",
    "Event",
    "Interpreter",
    "InterpreterPoolExecutor",
    "IsolationError",
    "Lock",
    "Pool",
    "RemoteError",
    "RemoteTraceback",
    "Semaphore",
    "Stats",
    "WorkerStats",
    "empty",
    "full",
    "map",
    "run",
    "share",
    "to_interpreter",
    "trace",
    "track",
    "worker_local",
    "zeros",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
