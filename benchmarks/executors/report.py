"""The results of ``bench.py`` as JSON and as text."""

import statistics
import textwrap
from collections.abc import Iterable
from typing import Any

from executors.measures import LENGTHS
from executors.runs import Run

__all__ = ["pays_off", "short", "summarize", "table"]

_WIDTH = 118
_PAYS = 1.1  # the smallest speed-up that pays off

type Record = dict[str, Any]


def summarize(runs: list[Run]) -> Record:
    """Summarize an executor's repetitions: of each figure the median, the minimum, the maximum and all values."""
    names = dict.fromkeys(name for run in runs for name in run.figures)
    figures = {}
    for name in names:
        values = [run.figures[name] for run in runs if name in run.figures]
        figures[name] = {
            "median": statistics.median(values), "least": min(values), "most": max(values), "values": values
        }  # fmt: skip
    return {
        "figures": figures,
        "failed": {name: reason for run in runs for name, reason in run.failed.items()},
        "nothing": {name: reason for run in runs for name, reason in run.nothing.items()},
    }


def pays_off(record: Record) -> float | None:
    """Return the shortest length of tasks, in seconds, from which on an executor is faster than a loop."""
    shortest = None
    for length in reversed(LENGTHS):
        figure = record["figures"].get(f"tasks of {length:g} s")
        if figure is None or figure["median"] < _PAYS:
            break
        shortest = length
    return shortest


def short(value: float) -> str:
    """Return a number in at most six characters."""
    if value >= 100_000:
        return f"{value / 1e6:.2f}M"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _spread(figure: dict[str, float]) -> str:
    """Return how far the repetitions were from the median, as a fraction of it."""
    median = figure["median"]
    return f"{max(figure['most'] - median, median - figure['least']) / median:.0%}" if median else ""


def _rows(records: dict[str, Record], columns: list[tuple[str, str, str]]) -> Iterable[list[str]]:
    yield ["", *(first for first, _, _ in columns)]
    yield ["", *(second for _, second, _ in columns)]
    for name, record in records.items():
        if "missing" in record:
            continue
        cells = []
        for _, _, key in columns:
            if key == "pays off":
                value = pays_off(record)
                cells.append(_duration(value) if value else "never" if _has_lengths(record) else "-")
            else:
                figure = record["figures"].get(key)
                cells.append("-" if figure is None else short(figure["median"]))
        yield [name, *cells]


def _has_lengths(record: Record) -> bool:
    return any(f"tasks of {length:g} s" in record["figures"] for length in LENGTHS)


def _duration(seconds: float) -> str:
    return f"{seconds * 1e6:g} µs" if seconds < 1e-3 else f"{seconds * 1e3:g} ms"


def _align(rows: Iterable[list[str]]) -> list[str]:
    cells = list(rows)
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    return [
        "  ".join([f"{row[0]:<{widths[0]}}", *(f"{cell:>{w}}" for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]


def table(report: Record) -> str:
    """Return the report as text: two tables of medians, the spread, and why figures are missing."""
    records: dict[str, Record] = report["executors"]
    sizes: list[int] = report["settings"]["sizes"]
    first = [
        ("start-up", "ms", "start"), ("NumPy", "ready ms", "numpy ready"), ("PSS per", "worker MiB", "memory"),
        ("latency", "p50 µs", "latency p50"), ("latency", "p99 µs", "latency p99"), ("submits", "per s", "submit"),
        ("map items", "per s", "map"), ("... best", "chunks", "map best"),
    ]  # fmt: skip
    second = [
        *((f"{size} MB", f"{way} ms", f"{way} {size} MB") for size in sizes for way in ("in", "out")),
        ("channel", "p50 µs", "channel p50"), ("picture", "speed-up", "picture"), ("pays off", "from", "pays off"),
    ]  # fmt: skip
    lines = [
        f"Python {report['python']}, owngil {report['owngil']}, {report['cpu']}, {report['cores']} cores,"
        f" {report['workers']} workers, medians of {report['repeat']}",
        "",
    ]
    for columns in (first, second):
        present = [
            column for column in columns
            if column[2] == "pays off" or any(column[2] in record.get("figures", {}) for record in records.values())
        ]  # fmt: skip
        if any(key != "pays off" for _, _, key in present) or any(map(_has_lengths, _measured(records))):
            lines += [*_align(_rows(records, present)), ""]
    widest = [
        (_spread(figure), name, key) for name, record in records.items()
        for key, figure in record.get("figures", {}).items() if len(figure["values"]) > 1
    ]  # fmt: skip
    if widest:
        spread, name, key = max(widest, key=lambda one: int(one[0].rstrip("%") or 0))
        middle = sorted(int(one[0].rstrip("%") or 0) for one in widest)[len(widest) // 2]
        lines.append(f"Spread around the median: half of all figures within {middle}%; most in {name}, {key}: {spread}")
    for name, record in records.items():
        if "missing" in record:
            lines.append(f"{name}: {record['missing']}")
        for measure, reason in record.get("failed", {}).items():
            lines += textwrap.wrap(f"{name}, {measure}: {reason}", _WIDTH, subsequent_indent="    ")
    return "\n".join(lines)


def _measured(records: dict[str, Record]) -> list[Record]:
    return [record for record in records.values() if "figures" in record]
