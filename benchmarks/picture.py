"""Time the picture of ``owngil mandelbrot`` in all backends, interleaved, and write medians to benchmarks/results.

Run it on an otherwise idle machine: ``make bench``. Ratios of one run are comparable, absolute times are not.
"""

import argparse
import json
import os
import platform
import statistics
from pathlib import Path

from machine import cpu_model

from owngil.cli.mandelbrot.backends import BACKENDS
from owngil.cli.mandelbrot.command import compute
from owngil.cli.mandelbrot.fractal import View

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    view = View(800, 800, (-2.0, 2.0), (-2.0, 2.0), 100)
    report = {
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "workers": options.workers,
        "command": f"make bench (benchmarks/picture.py --repeat {options.repeat})",
        "kernels": {},
    }
    for kernel in ("python", "numpy"):
        seconds = {name: [] for name in BACKENDS}
        start_up = {name: [] for name in BACKENDS}
        for _ in range(options.repeat):
            for name in BACKENDS:
                timing = compute(view, kernel, name, options.workers)[1]
                seconds[name].append(timing.seconds)
                start_up[name].append(timing.start_up)
        serial = statistics.median(seconds["serial"])
        rows = {
            name: {
                "seconds": statistics.median(seconds[name]),
                "speed_up": serial / statistics.median(seconds[name]),
                "start_up": statistics.median(start_up[name]),
                "fastest": min(seconds[name]),
                "slowest": max(seconds[name]),
            }
            for name in BACKENDS
        }
        report["kernels"][kernel] = rows
        print(f"{kernel} kernel, Python {report['python']}, {options.workers} workers, median of {options.repeat}")
        print(f"{'backend':<14}{'start-up s':>12}{'seconds':>10}{'speed-up':>10}")
        for name, row in rows.items():
            print(f"{name:<14}{row['start_up']:>12.3f}{row['seconds']:>10.3f}{row['speed_up']:>10.2f}")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"picture-{platform.python_version()}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    main()
