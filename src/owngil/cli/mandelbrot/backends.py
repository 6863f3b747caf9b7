"""Ways to run the same tasks: one after the other, in threads, in processes, in interpreters.

Each is a context manager that starts its workers, returns when all of them are ready, and gives a function
``run(fn, items)`` that yields results as they are done. Left by Ctrl-C, it stops its workers at once.

Results come through a SimpleQueue, which is one C call: conditions and events that are written in Python may keep their
lock when Ctrl-C hits them, and then the thread that delivers results waits for ever.
"""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib import import_module
from queue import SimpleQueue
from typing import Any

import owngil

__all__ = ["BACKENDS", "open_backend"]

type Run = Callable[[Callable[..., Any], Iterable[Any]], Iterator[Any]]


def _load(modules: Sequence[str]) -> None:
    """Import what the tasks need."""
    for module in modules:
        import_module(module)


@contextmanager
def _serial(workers: int, modules: Sequence[str]) -> Iterator[Run]:
    _load(modules)
    yield lambda fn, items: map(fn, items)


@contextmanager
def _threads(workers: int, modules: Sequence[str]) -> Iterator[Run]:
    stop = threading.Event()
    everybody = threading.Barrier(workers + 1)
    with ThreadPoolExecutor(workers, initializer=everybody.wait) as pool:

        def run(fn: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
            # Threads cannot be interrupted, so the tasks check a flag.
            done: SimpleQueue[Future[Any]] = SimpleQueue()
            count = 0
            for count, item in enumerate(items, 1):  # noqa: B007
                pool.submit(partial(fn, stop=stop.is_set), item).add_done_callback(done.put)
            for _ in range(count):
                yield done.get().result()

        for _ in range(workers):
            pool.submit(_load, modules)
        everybody.wait()
        try:
            yield run
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_stopped: Any = None  # in a process of the pool: a byte that all of them and the parent share


def _start_process(everybody: Any, stopped: Any, modules: Sequence[str]) -> None:
    global _stopped
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent stops these
    _stopped = stopped
    _load(modules)
    everybody.wait()


def _run_in_process(fn: Callable[..., Any], item: Any) -> Any:
    try:
        return fn(item, stop=lambda: _stopped.value != 0)
    except KeyboardInterrupt:  # of the kernel that was stopped; the pool expects exceptions, and this is none
        return None


@contextmanager
def _processes(workers: int, modules: Sequence[str]) -> Iterator[Run]:
    # fork, the default on some systems, is unsafe: the caller may have threads.
    context = multiprocessing.get_context("forkserver")
    everybody = context.Barrier(workers + 1)
    stopped = context.RawValue("b", 0)
    with context.Pool(workers, _start_process, (everybody, stopped, modules)) as pool:
        everybody.wait()

        def run(fn: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
            done: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
            count = 0
            for count, item in enumerate(items, 1):  # noqa: B007
                pool.apply_async(
                    _run_in_process,
                    (fn, item),
                    callback=lambda result: done.put((result, None)),
                    error_callback=lambda error: done.put((None, error)),
                )
            for _ in range(count):
                result, error = done.get()
                if error is not None:
                    raise error
                yield result

        try:
            yield run
        except BaseException:
            # Pool.terminate() may wait for ever: for a process that holds the lock of the results' pipe while it writes
            # a large result that no thread reads any more. So the processes end by themselves.
            stopped.value = 1
            pool.close()
            pool.join()
            raise


def _start_interpreter(arrivals: owngil.Channel, start: owngil.Channel, modules: Sequence[str]) -> None:
    _load(modules)
    arrivals.send(None)
    start.recv()


@contextmanager
def _interpreters(workers: int, modules: Sequence[str]) -> Iterator[Run]:
    with owngil.Pool(workers) as pool:
        arrivals, start = owngil.Channel(), owngil.Channel()

        def give_up(future: Future[None]) -> None:
            if not future.cancelled() and future.exception() is not None:
                arrivals.close()

        futures = [pool.submit(_start_interpreter, arrivals, start, modules) for _ in range(workers)]
        try:
            for future in futures:
                future.add_done_callback(give_up)
            for _ in futures:
                arrivals.recv()
        except owngil.ChannelClosed:
            pass  # the future's result() raises the reason
        finally:
            for _ in futures:
                start.send(None)
        for future in futures:
            future.result()
        yield lambda fn, items: pool.map(fn, items, chunksize=1, ordered=False)


BACKENDS: dict[str, Callable[[int, Sequence[str]], AbstractContextManager[Run]]] = {
    "serial": _serial,
    "threads": _threads,
    "processes": _processes,
    "interpreters": _interpreters,
}


def open_backend(
    name: str, workers: int, modules: Sequence[str] = ("owngil.cli.mandelbrot.fractal",)
) -> AbstractContextManager[Run]:
    """Return the context manager of a backend, one of `BACKENDS`, with so many workers (serial has one).

    The workers are ready when they have imported `modules`.
    """
    return BACKENDS[name](workers, modules)
