"""The workers of one pool: starts and interrupts them, and records what they have done.

The dispatcher decides which are wanted, and when.
"""

import os
import sys
from collections.abc import Callable
from functools import cache
from itertools import count

from owngil import _core, _wire
from owngil._caller.settings import settings_of_caller
from owngil._isolation import blas_threads, other_interpreters, policy
from owngil._tasks.exit import check_not_too_late
from owngil._tasks.stats import History, WorkerStats, worker_stats
from owngil._wire.protocol import GRACE

__all__ = ["Workers", "libraries_with_threads"]

_with_threads: set[str] = set()


def libraries_with_threads() -> list[str]:
    """Return the libraries of which a thread outlived its worker, so that the worker's memory was not given back."""
    return sorted(_with_threads)


@cache
def _protect_tracemalloc() -> None:
    if _core.in_main_interpreter():
        other_interpreters.protect_tracemalloc()


class Workers:
    """Up to `limit` workers, or more while some are blocked. `start` and `remove` are called with the pool's lock held.

    Parameters
    ----------
    limit : int
        How many there may be at once.
    name : callable
        Gives the name of worker 0, 1, 2, ...
    tasks, replies : _core.Queue
        Workers take from the one, and answer to the other.
    initializer : tuple, optional
        A callable and its arguments: runs in each before its first task.
    max_tasks : int, optional
        After so many tasks a worker ends.
    preload : tuple of str
        Modules that each imports before all else.
    copies : bool, optional
        Whether each copies the arguments of its tasks, which may then be written to.
    """

    def __init__(
        self,
        limit: int,
        name: Callable[[int], str],
        tasks: _core.Queue,
        replies: _core.Queue,
        *,
        initializer: tuple[Callable[..., object], tuple[object, ...]] | None = None,
        max_tasks: int | None = None,
        preload: tuple[str, ...] = (),
        copies: bool = False,
    ) -> None:
        policy.check_interpreter()
        self.limit = limit
        self.name = name
        self._tasks = tasks
        self._replies = replies
        self._initializer = initializer
        self._max_tasks = max_tasks
        self._preload = preload
        self._copies = copies
        self._numbers = count()  # an iterator, because a signal handler may take a number at any point
        self._ended = History()
        self.alive: dict[int, _core.Worker] = {}  # by their numbers
        self.blocked: frozenset[int] = frozenset()  # numbers of workers that wait for tasks of handed pools

    def start(self) -> int:
        """Start a worker and return its number."""
        check_not_too_late()
        policy.prepare_main()
        _protect_tracemalloc()
        number = next(self._numbers)
        setup = _wire.dumps(
            (settings_of_caller(), self.limit, self._max_tasks, self._preload, self._copies, self._initializer),
            "the initializer cannot be sent to a worker",
        )
        # The path is all that the worker needs to import owngil, which brings the import hook.
        path = ascii([entry for entry in sys.path if isinstance(entry, str)])  # importlib, too, skips others
        # The worker imports owngil before it takes over the caller's mode of lazy imports: a lazy import in the import
        # hook would import itself.
        eager = "sys.set_lazy_imports('normal'); " if sys.version_info >= (3, 15) else ""
        bootstrap = f"import sys; sys.path[:] = {path}; {eager}from owngil._worker.main import main; main()"
        name = self.name(number)
        other_interpreters.protect((id(self), number))
        try:
            _core.start_worker(name, number, bootstrap, setup, self._tasks, self._replies, self.alive)
        except BaseException:
            if number not in self.alive:
                other_interpreters.release((id(self), number))
            raise
        return number

    def join(self, number: int) -> None:
        """Free what a worker held, when its thread is about to end. Call it without the lock: it takes long."""
        worker = self.alive.get(number)
        if worker is not None:
            library = worker.join()  # unloads its private copies
            if library is not None:
                # The core spells each copy's path in another way.
                _with_threads.add(os.path.normpath(os.fsdecode(library)) if library else "a library that is not known")
            other_interpreters.release((id(self), number))
            if _core.in_main_interpreter() and _core.count_workers() == 0:
                blas_threads.restore()

    def remove(self, number: int) -> None:
        """Account for a worker that has ended."""
        if self.blocked:
            self.blocked -= {number}
        worker = self.alive.pop(number, None)
        if worker is not None:
            self._ended.add(self.name(number), worker.counters())

    def stats(self) -> list[WorkerStats]:
        """Return what each has done; with the lock held."""
        alive = [worker_stats(self.name(number), worker.counters()) for number, worker in self.alive.items()]
        return [*self._ended.rows(), *alive]

    @property
    def busy(self) -> bool:
        """Whether any is running a task."""
        return any(worker.task for worker in list(self.alive.values()))

    def interrupt(self, task: int = 0) -> None:
        """Raise KeyboardInterrupt in every task that is running; or in this one, and report it if it goes on."""
        self._tell_each("interrupt", task, GRACE if task else 0.0)

    def stop(self) -> None:
        """Interrupt the tasks that run, and those that begin at this moment."""
        self._tell_each("stop", GRACE)

    def _tell_each(self, method: str, *arguments: float) -> None:
        """Call a method of each worker. If some cannot be interrupted, raise the error of the first after the last."""
        failure: RuntimeError | None = None
        for worker in list(self.alive.values()):
            try:
                getattr(worker, method)(*arguments)
            except RuntimeError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def forget(self) -> None:
        """Forget all workers: this process is a fork."""
        other_interpreters.forget()
        self.alive = {}
