"""Recordings of what the workers of the process do, for Perfetto, chrome://tracing and ``owngil trace``."""

import os
import sys
import time
from types import TracebackType
from typing import Self

from owngil import _core
from owngil._tasks.exit import at_end

__all__ = ["trace"]


class trace:
    """Record what all workers of the process do, and write it to a file as a timeline.

    For a ``with`` block, or from `start` to `stop`; what is on when the process ends is written then. The file opens in
    https://ui.perfetto.dev and chrome://tracing, and ``owngil trace FILE -o trace.png`` draws it.

    There is a row for each worker: its start-up, the functions that it ran, what unpickling their arguments and
    pickling their results took, and what it waited for the next; a row for each thread that sent tasks or rebuilt
    results; and a graph of the tasks that wait in each pool's queue. An arrow leads from where a task was sent to where
    it ran. Pools inside workers are recorded too. A task of `Pool.map` is a chunk of calls.

    Parameters
    ----------
    path : path-like
        The file, JSON. It is written at the end; one that is there is replaced.

    Raises
    ------
    OSError
        From `start`, if the file cannot be written.
    RuntimeError
        From `start`, if a recording is on already: there is one for the whole process.

    Notes
    -----
    A task takes about a microsecond more while a recording is on, and some 300 bytes of memory; writing it at the end
    takes a tenth of a millisecond and 1 KB of the file.

    Examples
    --------
    >>> with owngil.trace("trace.json"), owngil.Pool(2) as pool:
    ...     results = list(pool.map(abs, range(1000)))
    """

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        self._path = os.path.abspath(path)
        self._began = 0
        self._clock = 0.0

    def start(self) -> Self:
        """Begin to record."""
        is_new = not os.path.exists(self._path)
        open(self._path, "a").close()  # finds out now whether the file can be written
        if self.stop not in at_end:
            self._began = time.monotonic_ns()
            self._clock = time.time()
            at_end.append(self.stop)  # first: once the recording is on, a signal handler may raise
            if _core.trace_start():
                return self
            at_end.remove(self.stop)
        if is_new:
            os.unlink(self._path)
        raise RuntimeError(
            "a recording is on already: there is one for the whole process, workers included; stop that first"
        )

    def stop(self) -> None:
        """Write what was recorded since `start`. Stopping again does nothing."""
        if self.stop not in at_end:
            return
        at_end.remove(self.stop)
        ended = time.monotonic_ns()
        recorded = _core.trace_stop()
        if recorded is None:  # this process is a fork
            return
        from owngil._api.trace_format import format_recording

        events, rows, names, dropped = recorded
        about = {
            "program": (os.path.basename(sys.argv[0]) if sys.argv else "") or "python",
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock)),
            "dropped": dropped,
        }
        with open(self._path, "w", encoding="utf-8") as file:
            for line in format_recording(events, rows, names, self._began, ended, about):
                file.write(line)
        if dropped:
            import warnings

            warnings.warn(f"{dropped} events found no room in the recording {self._path}", stacklevel=2)

    def __repr__(self) -> str:
        return f"<owngil.trace {self._path!r} {'on' if self.stop in at_end else 'off'}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


os.register_at_fork(after_in_child=_core.trace_forget)
