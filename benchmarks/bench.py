"""Measure every installed executor on the same work, in one run: python benchmarks/bench.py --help."""

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from executors.measures import MEASURES
from executors.report import summarize, table
from executors.runs import ALONE, Run, measure
from machine import cpu_model

import owngil
from owngil._isolation.cores import usable_cores
from owngil.cli.entry import Parser, run
from owngil.cli.errors import InputError
from owngil.cli.files import check_writable, write_file

__all__ = ["main"]

_SCHEMA = 1  # of the JSON output; a new number when a key is removed or changes its meaning
_SIZES = (1, 10, 100, 1000)  # MB
_EXECUTORS = (
    "serial", "threads", "processes-spawn", "processes-forkserver", "multiprocessing.Pool", "loky", "mpire", "dask",
    "ray", "InterpreterPoolExecutor", "owngil",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with `arguments` (default: those of the process) and return the exit code, as ``owngil``'s commands do."""
    parser = Parser(
        prog="bench.py",
        description="Measure every executor that is installed on the same work: start-up, memory, latency, throughput,"
        " arrays in and out, channels, and the speed-up by length of task and number of workers. Each repetition of an"
        " executor is a process of its own, and executors take turns. Compare within one run, on an idle machine.",
        epilog=f"Executors: {', '.join(_EXECUTORS)}. Measures: {', '.join(MEASURES)}. Executors"
        " that are not installed are left out. docs/bench.md says what each figure is.",
    )
    add = parser.add_argument
    add("--executors", metavar="NAMES", help="separated by commas (default: all that are installed)")
    add("--measures", metavar="NAMES", help="separated by commas (default: all)")
    add("--workers", type=int, default=usable_cores(), metavar="N", help="of each executor (default: %(default)s)")
    add("--repeat", type=int, default=3, metavar="N", help="repetitions (default: %(default)s)")
    add("--largest", type=int, default=100, metavar="MB", help="the largest array, 1 to 1000 (default: %(default)s)")
    add("--timeout", type=float, default=120.0, metavar="SECONDS", help="for each measure (default: 120)")
    add("--json", type=Path, metavar="FILE", help="write all figures")
    add("--plot", type=Path, metavar="FILE", help="draw them, .png")
    add("--quiet", action="store_true", help="print no progress and no table")
    parser.set_defaults(run=_run)
    return run(parser, arguments)


def _run(options: argparse.Namespace) -> int:
    _check(options)
    executors = _chosen("--executors", options.executors, _EXECUTORS)
    measures = _chosen("--measures", options.measures, MEASURES)
    try:
        import numpy  # noqa: F401 - the arrays that are passed
        from executors import plots
    except ImportError as error:
        raise InputError(f"{error.name} is missing: pip install 'owngil[cli]'") from None
    report = _measure(executors, measures, options)
    if not options.quiet:
        print(table(report))
    if options.json is not None:
        text = json.dumps(report, indent=1) + "\n"
        write_file(options.json, lambda file: file.write(text.encode()))
    if options.plot is not None:
        write_file(options.plot, lambda file: plots.draw(report, file))
    return 0


def _check(options: argparse.Namespace) -> None:
    for name in ("workers", "repeat"):
        if (value := getattr(options, name)) < 1:
            raise InputError(f"--{name} must be 1 or more, not {value}")
    if not 1 <= options.largest <= _SIZES[-1]:
        raise InputError(f"--largest must be 1 to {_SIZES[-1]} MB, not {options.largest}")
    if not (options.timeout > 0 and math.isfinite(options.timeout)):
        raise InputError(f"--timeout must be positive, not {options.timeout}")
    for path in filter(None, (options.json, options.plot)):
        check_writable(path)
    if options.plot is not None and options.plot.suffix.lower() != ".png":
        raise InputError(f"--plot must end in .png: {options.plot}")


def _chosen(option: str, text: str | None, known: Iterable[str]) -> list[str]:
    names = list(known)
    if text is None:
        return names
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in names]:
        raise InputError(f"{option}: {', '.join(map(repr, unknown))} is not one of {', '.join(names)}")
    if not wanted:
        raise InputError(f"{option} names nothing")
    return [name for name in names if name in wanted]


def _sizes(largest: int) -> list[int]:
    return sorted({size for size in _SIZES if size <= largest} | {largest})


def _scaling(cores: int) -> list[int]:
    """Return numbers of workers: powers of two up to twice the cores, and the cores."""
    return sorted({2**k for k in range((2 * cores).bit_length())} | {cores})


def _measure(names: list[str], measures: list[str], options: argparse.Namespace) -> dict[str, Any]:
    sys.path.insert(0, ALONE)
    try:
        from executors.pools import EXECUTORS
    finally:
        del sys.path[0]
    settings = {"sizes": _sizes(options.largest), "scaling": _scaling(usable_cores())}
    reasons = {name: EXECUTORS[name].missing() for name in names}
    there = [name for name in names if reasons[name] is None]
    runs: dict[str, list[Run]] = {name: [] for name in there}
    for repetition, name in _progress([(k, name) for k in range(options.repeat) for name in there], options):
        left = measures if repetition == 0 else [one for one in measures if one not in _hopeless(runs[name])]
        runs[name].append(measure(name, options.workers, left, settings, options.timeout))
    return {
        "schema": _SCHEMA,
        "owngil": owngil.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "load": os.getloadavg()[0],
        "workers": options.workers,
        "repeat": options.repeat,
        "command": _command(options),
        "settings": settings,
        "executors": {
            name: {"missing": reasons[name]}
            if reasons[name] is not None
            else {"version": EXECUTORS[name].version(), **summarize(runs[name])}
            for name in names
        },
    }


def _hopeless(runs: list[Run]) -> set[str]:
    """Return the measures that timed out or crashed before: they would do so again and take as long."""
    return {name for run in runs for name, why in run.failed.items() if why.startswith(("not done", "the process"))}


def _command(options: argparse.Namespace) -> str:
    words = ["benchmarks/bench.py", f"--workers {options.workers}", f"--repeat {options.repeat}"]
    words += [f"--largest {options.largest}"]
    words += [f"--{name} {text}" for name in ("executors", "measures") if (text := getattr(options, name))]
    return " ".join(words)


def _progress(items: list[tuple[int, str]], options: argparse.Namespace) -> Iterable[tuple[int, str]]:
    if options.quiet or not sys.stderr.isatty():
        yield from items
        return
    from tqdm import tqdm

    with tqdm(total=len(items), leave=False) as bar:
        for repetition, name in items:
            bar.set_description(name)
            yield repetition, name
            bar.update()


if __name__ == "__main__":
    sys.exit(main())
