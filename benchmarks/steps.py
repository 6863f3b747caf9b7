"""Measure each step of ``pool.submit(f, 1).result()`` by itself; the rest of a task's time is waking up threads.

Run it on an otherwise idle machine: ``python benchmarks/steps.py``; writes benchmarks/results/steps-VERSION.json.
"""

import json
import os
import platform
import statistics
import time
import timeit
from pathlib import Path

import owngil
from owngil import _core, _wire
from owngil._tasks.future import TaskFuture
from owngil._wire.protocol import CALL

RESULTS = Path(__file__).parent / "results"
ROUNDS = 20_000


def step(call, *args):
    """Return the microseconds that ``call(*args)`` takes, the best of five series."""
    timer = timeit.Timer("call(*args)", globals={"call": call, "args": args})
    empty = timeit.Timer("call(*args)", globals={"call": lambda *args: None, "args": args})
    best = min(timer.repeat(5, ROUNDS)) - min(empty.repeat(5, ROUNDS)) / 2  # half of `empty` is the cost of the call
    return max(0.0, best / ROUNDS * 1e6)


def steps_of_worker():
    """Measure a worker's steps; runs in a worker."""
    from os.path import basename

    from owngil import _core, _wire
    from owngil._worker import stdio

    call = _wire.dumps_call(basename, ("a",), {})
    return {
        "worker: rebuild the call": step(_wire.loads_call, call),
        "worker: write the result": step(_wire.dumps_result, 1, basename),
        "worker: flush stdout and stderr": step(stdio.flush),
        "worker: note the task's number": step(_core.run_task, 1, int),
        "worker: call the function": step(_core.call, int, (), {}, repr),
    }


def steps_of_caller(pool):
    """Measure the caller's steps."""
    from os.path import basename

    queue = _core.Queue()
    parts = _wire.dumps_call(basename, ("a",), {})
    dispatcher = pool._dispatcher

    def resolve():
        TaskFuture(dispatcher, 1).set_result(1)

    make = step(TaskFuture, dispatcher, 1)
    return {
        "caller: write the call": step(_wire.dumps_call, basename, ("a",), {}),
        "caller: make the future": make,
        "caller: put the message": step(queue.put, CALL, 1, parts),
        "caller: rebuild the result": step(_wire.loads, _wire.dumps_result(1, basename)),
        "caller: resolve the future": max(0.0, step(resolve) - make),
    }


def latency(pool, count=5000):
    """Return the median of the microseconds from submit() to the result."""
    from os.path import basename

    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        pool.submit(basename, "a").result()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[count // 10 :]) * 1e6


def main():
    with owngil.Pool(2) as pool:
        pool.submit(abs, 1).result()
        here = steps_of_caller(pool)
        there = pool.submit(steps_of_worker).result()
        whole = latency(pool)
    rows = here | there
    rows["waking the worker and the caller, taking and giving back GILs"] = whole - sum(rows.values())
    report = {
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "latency p50, microseconds": whole,
        "steps, microseconds": rows,
    }
    for name, value in rows.items():
        print(f"{value:7.2f} µs  {name}")
    print(f"{whole:7.2f} µs  in all, p50")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"steps-{platform.python_version()}.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
