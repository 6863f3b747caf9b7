"""The measures of one executor; they run in a process of their own, which reports in lines of JSON.

Each figure is reported once, and each measure is announced before it begins, so the parent knows where a process
crashed.
"""

import json
import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from executors.pools import Executor

__all__ = ["LENGTHS", "MEASURES", "main"]

LENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # seconds of a task
_ENOUGH = 0.8  # seconds that a measurement of a rate may take
_CHUNKS = (100, 1000, 10000)

type Figures = dict[str, float]


def _milliseconds(since: float) -> float:
    return (time.perf_counter() - since) * 1e3


def _fresh(executor: "Executor", settings: dict[str, Any]) -> Figures:
    """Measure start-up, and memory of workers with NumPy. The pool stays open for the other measures."""
    import owngil_bench_tasks as tasks

    before = _memory()
    start = time.perf_counter()
    executor.__enter__()
    assert executor.submit(tasks.noop, 1)() == 1
    figures = {"start": _milliseconds(start)}
    try:
        executor.on_all(tasks.import_numpy)
    except Exception as error:
        raise _Partly(figures, error) from error
    figures["numpy ready"] = _milliseconds(start)
    if executor.name != "serial" and before is not None and (after := _memory()) is not None:
        figures["memory"] = (after - before) / executor.workers / 2**20
    return figures


class _Partly(Exception):
    """A measure that yielded some figures and then failed."""

    def __init__(self, figures: Figures, error: Exception) -> None:
        super().__init__(str(error))
        self.figures = figures
        self.error = error


def _descendants(pid: int) -> Iterable[int]:
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(")")[2].split()
        except OSError:  # the process has ended
            continue
        parents.setdefault(int(after_name[1]), []).append(int(path.parent.name))
    waiting = [pid]
    while waiting:
        yield waiting[0]
        waiting += parents.get(waiting.pop(0), [])


def _memory() -> int | None:
    """Return the proportional set size of this process and all below it, in bytes."""
    total = 0
    for pid in _descendants(os.getpid()):
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024
        except FileNotFoundError:  # the process has ended
            continue
        except (OSError, StopIteration):
            return None
    return total


def _percentiles(name: str, seconds: list[float]) -> Figures:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {f"{name} p50": cuts[49] * 1e6, f"{name} p99": cuts[98] * 1e6}


def _latency(executor: "Executor", settings: dict[str, Any]) -> Figures:
    import owngil_bench_tasks as tasks

    seconds: list[float] = []
    limit = time.perf_counter() + _ENOUGH
    while len(seconds) < 2100 and (time.perf_counter() < limit or len(seconds) < 60):
        start = time.perf_counter()
        executor.submit(tasks.noop, 1)()
        seconds.append(time.perf_counter() - start)
    return _percentiles("latency", seconds[len(seconds) // 20 :])  # the first rounds are warm-up


def _rate(run: Callable[[int], object], most: int) -> float:
    """Return how many items a second ``run(count)`` does; the count grows until a run takes long enough."""
    count = 100
    while True:
        start = time.perf_counter()
        run(count)
        seconds = time.perf_counter() - start
        if count == most or seconds > _ENOUGH / 3:
            return count / seconds
        count = min(most, max(2 * count, int(count * _ENOUGH / 2 / seconds)))


def _submit(executor: "Executor", settings: dict[str, Any]) -> Figures:
    import owngil_bench_tasks as tasks

    def run(count: int) -> None:
        for wait in [executor.submit(tasks.noop, k) for k in range(count)]:
            wait()

    return {"submit": _rate(run, 10_000)}


def _map(executor: "Executor", settings: dict[str, Any]) -> Figures:
    import owngil_bench_tasks as tasks

    def run(count: int, chunksize: int | None = None) -> None:
        assert sum(1 for _ in executor.map(tasks.noop, range(count), chunksize)) == count

    figures = {"map": _rate(run, 1_000_000)}
    best = [_rate(lambda count, size=size: run(count, size), 1_000_000) for size in _CHUNKS if executor.chunks]  # type: ignore[misc]
    return {**figures, "map best": max([*best, figures["map"]])}


def _transfer(executor: "Executor", settings: dict[str, Any]) -> Figures:
    import numpy as np
    import owngil_bench_tasks as tasks

    def timed(call: Callable[[], Any], megabytes: int) -> float:
        seconds: list[float] = []
        limit = time.perf_counter() + _ENOUGH
        while len(seconds) < 3 or (len(seconds) < 50 and time.perf_counter() < limit):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds) * 1e3

    figures: Figures = {}
    for megabytes in settings["sizes"]:
        array = np.ones(megabytes * 10**6, np.uint8)
        try:
            figures[f"in {megabytes} MB"] = timed(lambda: executor.submit(tasks.touch, array)(), megabytes)  # noqa: B023
            executor.on_all(tasks.keep, megabytes * 10**6)
            figures[f"out {megabytes} MB"] = timed(lambda: int(executor.submit(tasks.give)()[-1]), megabytes)
        except Exception as error:
            raise _Partly(figures, error) from error
    executor.on_all(tasks.keep, 0)
    return figures


def _channel(executor: "Executor", settings: dict[str, Any]) -> Figures:
    if executor.workers < 2:
        from executors.pools import NoSuchThing

        raise NoSuchThing("it takes two workers")
    seconds = executor.ping_pong(1000)
    return _percentiles("channel", seconds[50:])


def _picture(executor: "Executor", settings: dict[str, Any]) -> Figures:
    import owngil_bench_tasks as tasks

    from owngil.cli.mandelbrot.fractal import View, assemble, bands, compute_band

    executor.on_all(tasks.load_kernel)
    view = View(600, 600, (-2.0, 2.0), (-2.0, 2.0), 100)
    parts = bands(view)
    start = time.perf_counter()
    expected = assemble(view, [compute_band(band, "python") for band in parts])
    serial = time.perf_counter() - start
    start = time.perf_counter()
    waits = [executor.submit(compute_band, band, "python") for band in parts]
    values = assemble(view, [wait() for wait in waits])
    seconds = time.perf_counter() - start
    if values.tobytes() != expected.tobytes():
        raise RuntimeError("the picture is another one than the serial one")
    return {"picture": serial / seconds}


def _loops_per_second() -> float:
    import owngil_bench_tasks as tasks

    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        tasks.spin(100_000)
        best = min(best, time.perf_counter() - start)
    return 100_000 / best


def _speed_up(executor: "Executor", length: float, total: float) -> float:
    """Return how much faster than a loop an executor runs `total` seconds of tasks of `length` seconds each."""
    import owngil_bench_tasks as tasks

    loops = max(1, round(length * _loops_per_second()))
    count = max(4 * executor.workers, min(5000, round(total / length)))
    start = time.perf_counter()
    for _ in range(count):
        tasks.spin(loops)
    serial = time.perf_counter() - start
    start = time.perf_counter()
    for wait in [executor.submit(tasks.spin, loops) for _ in range(count)]:
        wait()
    return serial / (time.perf_counter() - start)


def _lengths(executor: "Executor", settings: dict[str, Any]) -> Figures:
    return {f"tasks of {length:g} s": _speed_up(executor, length, 0.4) for length in LENGTHS}


def _scaling(executor: "Executor", settings: dict[str, Any]) -> Figures:
    import owngil_bench_tasks as tasks

    figures: Figures = {}
    if executor.name == "serial":
        return figures
    executor.__exit__()
    for workers in settings["scaling"]:
        with type(executor)(workers) as other:
            other.on_all(tasks.meet)
            figures[f"{workers} workers"] = _speed_up(other, 1e-2, 0.6)
    executor.__enter__()
    return figures


# The order matters: "fresh" opens the pool for the other measures.
MEASURES: dict[str, Callable[["Executor", dict[str, Any]], Figures]] = {
    "fresh": _fresh,
    "latency": _latency,
    "submit": _submit,
    "map": _map,
    "transfer": _transfer,
    "channel": _channel,
    "picture": _picture,
    "lengths": _lengths,
    "scaling": _scaling,
}


def _describe(error: BaseException) -> str:
    error = getattr(error, "cause", None) or error  # Ray wraps the error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def main(request: dict[str, Any]) -> None:
    """Run the measures that the parent asks for: ``executor``, ``workers``, ``measures``, ``settings``, ``report``."""
    import numpy  # noqa: F401 - here it is there before, in all executors

    from executors.pools import EXECUTORS, NoSuchThing

    fd: int = request["report"]
    os.set_inheritable(fd, False)  # worker processes must not keep the pipe open

    def tell(**event: object) -> None:
        os.write(fd, json.dumps(event).encode() + b"\n")

    executor = EXECUTORS[request["executor"]](request["workers"])
    is_open = False
    for name in request["measures"]:
        tell(begin=name)
        try:
            if not is_open and name != "fresh":
                executor.__enter__()
            is_open = True
            tell(measure=name, figures=MEASURES[name](executor, request["settings"]))
        except _Partly as partly:
            tell(measure=name, figures=partly.figures, failed=_describe(partly.error))
        except NoSuchThing as nothing:
            tell(measure=name, figures={}, nothing=str(nothing))
        except Exception as error:
            tell(measure=name, figures={}, failed=_describe(error))
    tell(begin="shutdown")
    if is_open:
        executor.__exit__()
    tell(measure="shutdown", figures={})
