"""A recording of `owngil.trace` as the command line reads it."""

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from owngil.cli.errors import InputError

__all__ = ["Row", "Span", "Timeline", "read_timeline"]


@dataclass(frozen=True, slots=True)
class Span:
    """What a row did from one moment to another, in seconds since the recording began."""

    start: float
    end: float
    name: str
    kind: str  # "task", "transfer", "start-up", "end" or "idle"
    failed: bool
    details: str


@dataclass(frozen=True, slots=True)
class Row:
    """A worker, or another thread."""

    label: str
    spans: list[Span] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Timeline:
    """All of it.

    Attributes
    ----------
    title : str
    start, end : float
        Seconds since the recording began: what is to be seen of it.
    rows : list of Row
        In the order of the file.
    queues : dict
        For each graph its points: seconds, and how many tasks wait from then on.
    """

    title: str
    start: float
    end: float
    rows: list[Row]
    queues: dict[str, list[tuple[float, float]]]


def _load(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        trace = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}") from None
    events = trace.get("traceEvents") if isinstance(trace, dict) else None
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise InputError(f"{path} is no recording of owngil.trace: it has no list of 'traceEvents'")
    other = trace.get("otherData")
    return other if isinstance(other, dict) else {}, events


def _details(args: Any) -> str:
    if not isinstance(args, dict):
        return ""
    return ", ".join(f"{key} {value:,}" if type(value) in (int, float) else f"{key} {value}"
                     for key, value in args.items())  # fmt: skip


def read_timeline(path: Path, first: float | None = None, last: float | None = None) -> Timeline:
    """Read a file that `owngil.trace` wrote.

    Parameters
    ----------
    path : Path
    first, last : float, optional
        Seconds: what is to be seen of it. Default: all.

    Raises
    ------
    InputError
        If it is no such file, or nothing happened in that time.
    """
    about, events = _load(path)
    labels: dict[Any, str] = {}
    order: dict[Any, float] = {}
    spans: dict[Any, list[Span]] = defaultdict(list)
    queues: dict[str, list[tuple[float, float]]] = defaultdict(list)
    try:
        for event in events:
            phase, key = event["ph"], (event["pid"], event["tid"])
            if phase == "M":
                if event["name"] == "thread_name":
                    labels[key] = str(event["args"]["name"])
                elif event["name"] == "thread_sort_index":
                    order[key] = float(event["args"]["sort_index"])
            elif phase == "X":
                start = event["ts"] / 1e6
                args = event.get("args", {})
                spans[key].append(
                    Span(start, start + event["dur"] / 1e6, str(event["name"]), str(event["cat"]),
                         bool(args.get("failed")), _details(args))
                )  # fmt: skip
            elif phase == "C":
                queues[str(event["name"])].append((event["ts"] / 1e6, float(next(iter(event["args"].values())))))
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        shown = f"{event}"[:200]
        raise InputError(f"{path} is no recording of owngil.trace: an event is wrong ({what}): {shown}") from None
    ends = [span.end for row in spans.values() for span in row]
    start = 0.0 if first is None or first == -math.inf else first
    end = max(ends, default=0.0) if last is None or last == math.inf else last
    rows = [
        Row(labels.get(key, str(key[1])), kept)
        for key in sorted(spans, key=lambda key: order.get(key, 0.0))
        if (kept := [span for span in spans[key] if span.end >= start and span.start <= end])
    ]
    if not rows or start >= end:
        when = "" if first is None and last is None else " in that time"
        raise InputError(f"{path}: nothing happened{when}")
    title = str(about.get("program", path.name))
    graphs = {name: sorted(points) for name, points in queues.items()}
    return Timeline(f"{title}, {end - start:.3g} s", start, end, rows, graphs)
