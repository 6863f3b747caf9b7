"""Measure the memory and time that one more worker with NumPy costs.

    python benchmarks/imports.py [RUNS]

Memory is PSS: a page that several processes map counts for each of them in part. For owngil, it is the growth of the
process by a fourth worker. For ProcessPoolExecutor, it is the memory of one of four spawned workers, and also the
growth of all processes together by the fourth. Time is the time of `import numpy` in the fourth worker, with three
others alive, and in a new process's main interpreter. Each run is a new process; the kinds are interleaved, and the
figures are medians. Writes benchmarks/results/imports-VERSION.json.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from numpy_task import import_numpy

RESULTS = Path(__file__).parent / "results"
KINDS = ("main", "owngil", "spawn")


def pss(pid="self"):
    """Return a process's proportional set size, in MiB."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024


def measure_main():
    return {"seconds": import_numpy()}


def measure_owngil():
    import owngil

    workers = [owngil.Interpreter() for _ in range(4)]
    for worker in workers[:3]:
        worker.call(import_numpy)
    before = pss()
    seconds = workers[3].call(import_numpy)
    grown = pss() - before
    # The interpreter itself, measured by a fifth worker that does nothing.
    before = pss()
    with owngil.Interpreter() as idle:
        idle.call(abs, 1)
        grown += pss() - before
    for worker in workers:
        worker.close()
    return {"seconds": seconds, "MiB": grown}


def measure_spawn():
    totals, each = [], []
    for count in (3, 4):
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            while len(pool._processes) < count:
                list(pool.map(time.sleep, [0.02] * count))
            list(pool.map(import_numpy, [None] * 8 * count, chunksize=1))
            each = [pss(pid) for pid in pool._processes]
            totals.append(sum(each) + pss())
    return {"MiB": statistics.mean(each), "growth MiB": totals[1] - totals[0]}


def main(runs):
    results = {kind: [] for kind in KINDS}
    for _ in range(runs):
        for kind in KINDS:
            done = subprocess.run([sys.executable, __file__, kind], capture_output=True, text=True, check=True)
            results[kind].append(json.loads(done.stdout))

    def median(kind, name):
        return statistics.median(result[name] for result in results[kind])

    summary = {
        "MiB of a further worker, owngil": median("owngil", "MiB"),
        "MiB of a further worker, spawned process": median("spawn", "MiB"),
        "memory ratio": median("owngil", "MiB") / median("spawn", "MiB"),
        "growth of all processes by a spawned one, MiB": median("spawn", "growth MiB"),
        "ratio to that": median("owngil", "MiB") / median("spawn", "growth MiB"),
        "import in main, s": median("main", "seconds"),
        "import in a fourth worker, s": median("owngil", "seconds"),
        "import ratio": median("owngil", "seconds") / median("main", "seconds"),
    }
    for name, value in summary.items():
        print(f"{name:45} {value:.3f}")
    version = platform.python_version()
    RESULTS.mkdir(exist_ok=True)
    record = {"python": version, "cores": len(os.sched_getaffinity(0)), "runs": runs, "summary": summary,
              "results": results}  # fmt: skip
    (RESULTS / f"imports-{version}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in KINDS:
        print(json.dumps(globals()[f"measure_{sys.argv[1]}"]()))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 7)
