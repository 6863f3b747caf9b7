"""Sub-interpreters for numeric Python: one process, one OS thread and one GIL per worker, NumPy in every one."""

from typing import TYPE_CHECKING

from owngil import _platform

_platform.check()

from owngil import _core, _startup  # noqa: E402

if _core.in_worker() and not TYPE_CHECKING:
    _startup.prepare_worker()

else:
    from owngil._channel import Channel
    from owngil._default import map, run, to_interpreter
    from owngil._dispatch import BrokenPoolError
    from owngil._errors import ChannelClosed, IsolationError, RemoteError, RemoteTraceback
    from owngil._interpreter import Interpreter
    from owngil._local import worker_local
    from owngil._pool import Pool
    from owngil._progress import track
    from owngil._shared_arrays import empty, full, share, zeros
    from owngil._stats import Stats, WorkerStats
    from owngil._sync import Barrier, BoundedSemaphore, Counter, Event, Lock, Semaphore
    from owngil._trace import trace

if TYPE_CHECKING:
    from owngil._executor import InterpreterPoolExecutor
else:

    def __getattr__(name):
        """Import a public name when it is asked for: a worker that only runs tasks does without most of them."""
        return _startup.import_public(name)


__version__ = "0.1.0"

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
