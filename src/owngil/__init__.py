"""Sub-interpreters for numeric Python: one process, one OS thread and one GIL per worker, NumPy in every one."""

from owngil import _platform

_platform.check()

from owngil import _core, _startup  # noqa: E402

if _core.in_worker():
    _startup.prepare_worker()

from owngil._channel import Channel  # noqa: E402
from owngil._default import map, run, to_interpreter  # noqa: E402
from owngil._errors import BrokenPoolError, ChannelClosed, IsolationError, RemoteError, RemoteTraceback  # noqa: E402
from owngil._interpreter import Interpreter  # noqa: E402
from owngil._pool import Pool  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "BrokenPoolError",
    "Channel",
    "ChannelClosed",
    "Interpreter",
    "IsolationError",
    "Pool",
    "RemoteError",
    "RemoteTraceback",
    "map",
    "run",
    "to_interpreter",
]
