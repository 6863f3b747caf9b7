"""The executors that ``bench.py`` compares, behind one interface.

Each runs with its own defaults, except for the number of workers.
"""

import importlib.util
import multiprocessing
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib.metadata import version
from queue import SimpleQueue
from typing import Any

import owngil_bench_tasks as tasks  # `runs` has put its folder on the path

import owngil

__all__ = ["EXECUTORS", "Executor", "NoSuchThing", "executor_class"]


class NoSuchThing(Exception):
    """The executor lacks the feature, so there is nothing to measure."""


class Executor:
    """An executor with some workers, started by ``with``.

    Attributes
    ----------
    name : str
        The name that the user gives on the command line.
    module : str
        The module that must be installed.
    distribution : str or None
        The distribution whose version is reported; None: a part of Python.
    chunks : bool
        Whether `map` takes a chunk size.
    """

    name: str
    module = "concurrent.futures"
    distribution: str | None = None
    chunks = True

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.pool: Any = None

    @classmethod
    def missing(cls) -> str | None:
        """Return why the executor is not available here, or None."""
        if importlib.util.find_spec(cls.module.partition(".")[0]) is None:
            return f"{cls.distribution} is not installed"
        return None

    @classmethod
    def version(cls) -> str:
        """Return the executor's version."""
        return platform.python_version() if cls.distribution is None else version(cls.distribution)

    def open(self) -> Any:
        """Make the pool."""
        raise NotImplementedError

    def __enter__(self) -> "Executor":
        self.pool = self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(wait=True)

    def submit(self, fn: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        """Start a call; return a function that waits for its result."""
        result: Callable[[], Any] = self.pool.submit(fn, *args).result
        return result

    def map(self, fn: Callable[..., Any], items: Sequence[Any], chunksize: int | None = None) -> Iterable[Any]:
        """Call `fn` with each item and return the results in order. Without `chunksize`: the executor's default."""
        results: Iterable[Any] = self.pool.map(fn, items, **({} if chunksize is None else {"chunksize": chunksize}))
        return results

    def each(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run calls that wait for each other, one in each worker; a call is a function and its arguments."""
        return [wait() for wait in [self.submit(*call) for call in calls]]

    def on_all(self, fn: Callable[..., Any], *args: Any) -> list[Any]:
        """Call ``fn(*args, folder, k, workers)`` once in each worker; `fn` ends with `tasks.meet`."""
        with tempfile.TemporaryDirectory() as folder:
            return self.each([(fn, *args, folder, k, self.workers) for k in range(self.workers)])

    def channel(self) -> Any:
        """Make a channel between two workers."""
        raise NoSuchThing("no channel between workers")

    def ping_pong(self, rounds: int) -> list[float]:
        """Send messages from one worker to another and back; return the seconds of each round."""
        there, back = self.channel(), self.channel()
        seconds: list[float] = self.each([(tasks.ping, rounds, there, back), (tasks.echo, rounds, there, back)])[0]
        return seconds


class _Serial(Executor):
    name = "serial"

    def open(self) -> None:
        self.workers = 1

    def __exit__(self, *error: object) -> None:
        pass

    def submit(self, fn: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        result = fn(*args)
        return lambda: result

    chunks = False

    def map(self, fn: Callable[..., Any], items: Sequence[Any], chunksize: int | None = None) -> Iterable[Any]:
        return map(fn, items)


class _Threads(Executor):
    name = "threads"
    chunks = False

    def open(self) -> Any:
        return ThreadPoolExecutor(self.workers)

    def channel(self) -> Any:
        return SimpleQueue()


class _Processes(Executor):
    """Worker processes, which get their channels when they start: channels cannot be pickled later."""

    method = "spawn"

    def _make(self, context: Any, *initializer: Any) -> Any:
        return ProcessPoolExecutor(self.workers, context, *initializer)

    def open(self) -> Any:
        context = multiprocessing.get_context(self.method)
        channels = (context.SimpleQueue(), context.SimpleQueue())
        return self._make(context, tasks.take, channels)

    def ping_pong(self, rounds: int) -> list[float]:
        seconds: list[float] = self.each([(tasks.ping, rounds), (tasks.echo, rounds)])[0]
        return seconds


class _SpawnedProcesses(_Processes):
    name = "processes-spawn"


class _ForkserverProcesses(_Processes):
    name = "processes-forkserver"
    method = "forkserver"


class _MultiprocessingPool(_Processes):
    name = "multiprocessing.Pool"
    module = "multiprocessing"
    method = "forkserver"  # with fork, a crash may follow: this process has threads

    def _make(self, context: Any, *initializer: Any) -> Any:
        return context.Pool(self.workers, *initializer)

    def __exit__(self, *error: object) -> None:
        self.pool.close()
        self.pool.join()

    def submit(self, fn: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        result: Callable[[], Any] = self.pool.apply_async(fn, args).get
        return result


class _Loky(Executor):
    name = "loky"
    module = distribution = "loky"

    def open(self) -> Any:
        from loky import ProcessPoolExecutor as LokyExecutor

        return LokyExecutor(self.workers)


class _Mpire(Executor):
    name = "mpire"
    module = distribution = "mpire"

    def open(self) -> Any:
        from mpire import WorkerPool

        return WorkerPool(self.workers, start_method="forkserver")

    def __exit__(self, *error: object) -> None:
        self.pool.stop_and_join()

    def submit(self, fn: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        result: Callable[[], Any] = self.pool.apply_async(fn, args).get
        return result

    def map(self, fn: Callable[..., Any], items: Sequence[Any], chunksize: int | None = None) -> Iterable[Any]:
        # Once apply_async() was used, mpire's ordered map gives `fn` each item's number too.
        results: Iterable[Any] = self.pool.map_unordered(fn, items, chunk_size=chunksize)
        return results


class _Dask(Executor):
    name = "dask"
    module = "distributed"
    distribution = "distributed"
    chunks = False

    def open(self) -> Any:
        from distributed import Client, LocalCluster

        self._cluster = LocalCluster(n_workers=self.workers, threads_per_worker=1, processes=True,
                                     dashboard_address=None)  # fmt: skip
        return Client(self._cluster)

    def __exit__(self, *error: object) -> None:
        self.pool.close()
        self._cluster.close()

    def submit(self, fn: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        result: Callable[[], Any] = self.pool.submit(fn, *args, pure=False).result  # pure ones are run once
        return result

    def map(self, fn: Callable[..., Any], items: Sequence[Any], chunksize: int | None = None) -> Iterable[Any]:
        results: Iterable[Any] = self.pool.gather(self.pool.map(fn, items, pure=False))
        return results

    def each(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        self.pool.wait_for_workers(self.workers)
        workers = list(self.pool.scheduler_info(n_workers=-1)["workers"])
        futures = [
            self.pool.submit(*call, pure=False, workers=[worker], allow_other_workers=False)
            for call, worker in zip(calls, workers, strict=False)
        ]
        return [future.result() for future in futures]


class _Ray(Executor):
    name = "ray"
    module = distribution = "ray"
    chunks = False

    def open(self) -> Any:
        import ray

        ray.init(num_cpus=self.workers, include_dashboard=False, logging_level="error", log_to_driver=False)
        self._remote: dict[Callable[..., Any], Any] = {}
        return ray

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown()

    def _call(self, fn: Callable[..., Any], *args: Any) -> Any:
        if fn not in self._remote:
            self._remote[fn] = self.pool.remote(fn)
        return self._remote[fn].remote(*args)

    def submit(self, fn: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        reference = self._call(fn, *args)
        return lambda: self.pool.get(reference)

    def map(self, fn: Callable[..., Any], items: Sequence[Any], chunksize: int | None = None) -> Iterable[Any]:
        results: Iterable[Any] = self.pool.get([self._call(fn, item) for item in items])
        return results


class _InterpreterPool(Executor):
    name = "InterpreterPoolExecutor"
    chunks = False

    @classmethod
    def missing(cls) -> str | None:
        return None if sys.version_info >= (3, 14) else "Python 3.14 is the first that has it"

    def open(self) -> Any:
        from concurrent import futures

        return getattr(futures, "InterpreterPoolExecutor")(self.workers)  # noqa: B009 - mypy looks at 3.12

    def channel(self) -> Any:
        from importlib import import_module

        return import_module("concurrent.interpreters").create_queue()


class _Owngil(Executor):
    name = "owngil"
    module = distribution = "owngil"

    def open(self) -> Any:
        return owngil.Pool(self.workers)

    def channel(self) -> Any:
        return owngil.Channel()


_CLASSES: tuple[type[Executor], ...] = (
    _Serial, _Threads, _SpawnedProcesses, _ForkserverProcesses, _MultiprocessingPool, _Loky, _Mpire, _Dask, _Ray,
    _InterpreterPool, _Owngil,
)  # fmt: skip
EXECUTORS: dict[str, type[Executor]] = {each.name: each for each in _CLASSES}


def executor_class(name: str) -> type[Executor]:
    """Return the class of that name in `EXECUTORS`."""
    return EXECUTORS[name]
