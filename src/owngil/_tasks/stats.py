"""Statistics of the workers of a pool: the numbers that the core counts, as a table."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["History", "Stats", "WorkerStats", "worker_stats"]

_STATES = ("starting", "idle", "reading", "running", "writing", "ending")
_KEPT = 64  # workers that have ended and are listed one by one

type Counters = tuple[int, tuple[int, ...], int, int, int, int, int, int]  # see Worker.counters() in the core


class WorkerStats(NamedTuple):
    """What one worker has done up to a moment; all times in seconds.

    Attributes
    ----------
    name : str
        The worker's; ``"(9 earlier)"`` stands for as many that ended long ago, in one.
    state : str
        ``starting``, ``idle``, ``reading`` (rebuilding a call), ``running``, ``writing`` (a result), ``ending`` or
        ``ended``.
    tasks : int
        Those that are done. A task of `Pool.map` is a chunk of calls.
    calls : int
        Calls of functions in these tasks.
    failed : int
        Calls that raised, among these.
    busy : float
        The functions' own time.
    idle : float
        Waiting for tasks.
    startup : float
        From the start of the thread to the first wait: imports and the initializer are in it.
    transfer : float
        Rebuilding calls, writing results, showing output.
    waited : float
        What the tasks waited in the queue before the worker took them, added up.
    bytes_in, bytes_out : int
        Sizes of calls and results, with their buffers, which are not copied.
    """

    name: str
    state: str
    tasks: int
    calls: int
    failed: int
    busy: float
    idle: float
    startup: float
    transfer: float
    waited: float
    bytes_in: int
    bytes_out: int


def worker_stats(name: str, counters: Counters, *, ended: bool = False) -> WorkerStats:
    """Return what a worker's counters say."""
    phase, spent, waited, tasks, calls, failed, bytes_in, bytes_out = counters
    start, idle, reading, running, writing, _ = (nanoseconds / 1e9 for nanoseconds in spent)
    return WorkerStats(
        name, "ended" if ended else _STATES[phase], tasks, calls, failed, running, idle, start, reading + writing,
        waited / 1e9, bytes_in, bytes_out,
    )  # fmt: skip


def _sum(name: str, state: str, rows: Iterable[WorkerStats]) -> WorkerStats:
    return WorkerStats(name, state, *map(sum, zip(*(row[2:] for row in rows), strict=True)))


class History:
    """Workers that have ended: the last ones one by one, those before as one."""

    def __init__(self) -> None:
        self._last: deque[WorkerStats] = deque()
        self._earlier: WorkerStats | None = None
        self._count = 0  # of the earlier ones

    def add(self, name: str, counters: Counters) -> None:
        """Take in a worker."""
        self._last.append(worker_stats(name, counters, ended=True))
        if len(self._last) > _KEPT:
            self._count += 1
            rows = [self._last.popleft()] if self._earlier is None else [self._earlier, self._last.popleft()]
            self._earlier = _sum(f"({self._count} earlier)", "ended", rows)

    def rows(self) -> list[WorkerStats]:
        """Return them, the first to end first."""
        return [*([] if self._earlier is None else [self._earlier]), *self._last]


class Stats(NamedTuple):
    """What the workers of a `Pool` or an `Interpreter` have done up to a moment. Its text is a table.

    Attributes
    ----------
    workers : tuple of WorkerStats
        Those that have ended first.
    queued : int
        Tasks that no worker has taken yet.
    sending : float
        Seconds that callers have spent on writing calls and putting them into the queue.
    receiving : float
        Seconds that they have spent on rebuilding results.
    """

    workers: tuple[WorkerStats, ...]
    queued: int
    sending: float
    receiving: float

    @property
    def total(self) -> WorkerStats:
        """The sums of all workers."""
        if not self.workers:
            return WorkerStats("total", "", 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0)
        return _sum("total", "", self.workers)

    def __str__(self) -> str:
        head = ("worker", "state", "tasks", "calls", "failed", "busy s", "idle s", "start-up s", "transfer s",
                "wait/task ms", "in", "out")  # fmt: skip
        rows = [head, *map(_cells, self.workers)]
        if len(self.workers) > 1:
            rows.append(_cells(self.total))
        return (
            _table(rows)
            + f"\n{self.queued} tasks queued; callers spent {self.sending:.3f} s on sending and {self.receiving:.3f} s"
            " on receiving"
        )

    def __repr__(self) -> str:
        return str(self)


def _cells(row: WorkerStats) -> tuple[str, ...]:
    return (
        row.name, row.state, f"{row.tasks:,}", f"{row.calls:,}", f"{row.failed:,}", f"{row.busy:.3f}",
        f"{row.idle:.3f}", f"{row.startup:.3f}", f"{row.transfer:.3f}",
        f"{row.waited / row.tasks * 1000:.3f}" if row.tasks else "-", _size(row.bytes_in), _size(row.bytes_out),
    )  # fmt: skip


def _size(count: int) -> str:
    number = float(count)
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [f"{cell:<{width}}" if k < 2 else f"{cell:>{width}}"
                 for k, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
