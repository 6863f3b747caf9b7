"""Turns a recording of the core into Chrome's trace event format, a line an event.

The format: "Trace Event Format" by Google, docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
Times are microseconds since the recording began.
"""

import json
import os
import platform
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from owngil._version import __version__

__all__ = ["format_recording"]

# owngil_event and its kinds, of trace.h.
_EVENT = struct.Struct("=5q2Q3q4I")
_TASK, _SEND, _RECEIVE, _START, _END, _CANCEL = range(6)
_NO_NAME = 2**32 - 1

type Row = tuple[str, bool, int]  # name, whether it is a worker's, the worker's number in its pool


class _Event(NamedTuple):
    first: int
    second: int
    called: int
    returned: int
    answered: int
    queue: int
    task: int
    bytes_in: int
    bytes_out: int
    calls: int
    kind: int
    row: int
    name: int
    failed: int


def _pool_of(worker: str, number: int) -> str:
    return worker.removesuffix(f"-{number}")


class _Writer:
    def __init__(self, rows: Sequence[Row], names: Sequence[str], began: int, ended: int) -> None:
        self._rows = rows
        self._names = names
        self._began = began
        self._ended = ended
        self._pid = os.getpid()
        self._pools: dict[int, str] = {}  # by queue
        self._flows: dict[tuple[int, int], int] = {}
        self._sent: set[tuple[int, int]] = set()

    def _event(self, phase: str, name: str, category: str, time: int, row: int, **more: Any) -> dict[str, Any]:
        moment = (max(time, self._began) - self._began) / 1000
        return {"ph": phase, "name": name, "cat": category, "ts": moment, "pid": self._pid, "tid": row, **more}

    def _slice(self, name: str, category: str, start: int, end: int, row: int, **args: Any) -> dict[str, Any]:
        duration = max(0, end - max(start, self._began)) / 1000
        more = {"args": args} if args else {}
        return self._event("X", name, category, start, row, dur=duration, **more)

    def _metadata(self, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
        def make(what: str, row: int, **args: Any) -> dict[str, Any]:
            return {"ph": "M", "name": what, "pid": self._pid, "tid": row, "args": args}

        yield make("process_name", 0, name=f"owngil: {about['program']}")
        pools: dict[str, int] = {}  # callers come first, then the workers of each pool by number
        keys = []
        for k, (name, is_worker, number) in enumerate(self._rows):
            place = pools.setdefault(_pool_of(name, number), len(pools))
            keys.append((1, place, number, k) if is_worker else (0, 0, 0, k))
        order = [key[-1] for key in sorted(keys)]
        seen: dict[str, int] = defaultdict(int)
        for place, k in enumerate(order):
            name = self._rows[k][0]
            seen[name] += 1
            label = name if seen[name] == 1 else f"{name} ({seen[name]})"  # pools in workers have equal names
            yield make("thread_name", k + 1, name=label)
            yield make("thread_sort_index", k + 1, sort_index=place)

    def _name_pools(self, events: Sequence[_Event]) -> None:
        """Name each queue by its pool: what the names of its workers have in common."""
        for event in events:
            if event.kind in (_TASK, _START) and event.queue not in self._pools:
                name, _, number = self._rows[event.row]
                self._pools[event.queue] = _pool_of(name, number)

    def _task(self, event: _Event) -> Iterator[dict[str, Any]]:
        row = event.row + 1
        name = "a task" if event.name == _NO_NAME else self._names[event.name]
        called, returned, answered = event.called, event.returned, event.answered
        args: dict[str, Any] = {"task": event.task, "pool": self._pool(event.queue), "bytes_in": event.bytes_in}
        if event.first:
            args["queued_us"] = (event.second - event.first) / 1000
        if answered:
            args |= {"calls": event.calls, "failed": event.failed, "bytes_out": event.bytes_out}
        else:
            args["unfinished"] = True
        yield self._slice("unpickle", "transfer", event.second, called or answered or self._ended, row)
        if called:
            yield self._slice(name, "task", called, returned or self._ended, row, **args)
            if returned:
                yield self._slice("pickle", "transfer", returned, answered or self._ended, row)
            key = event.queue, event.task
            if key in self._sent:
                yield self._event("f", "task", "flow", called, row, id=self._flow(key), bp="e")

    def _pool(self, queue: int) -> str:
        return self._pools.get(queue, f"queue {queue}")

    def _flow(self, key: tuple[int, int]) -> int:
        return self._flows.setdefault(key, len(self._flows) + 1)

    def _other(self, event: _Event) -> Iterator[dict[str, Any]]:
        row = event.row + 1
        if event.kind == _SEND:
            key = event.queue, event.task
            args = {"task": event.task, "pool": self._pool(event.queue), "bytes": event.bytes_in}
            yield self._slice("send", "transfer", event.first, event.second, row, **args)
            yield self._event("s", "task", "flow", event.first, row, id=self._flow(key))
        elif event.kind == _RECEIVE:
            yield self._slice("unpickle", "transfer", event.first, event.second, row)
        elif event.kind == _START:
            yield self._slice("start-up", "start-up", event.first, event.second, row)
        elif event.kind == _END:
            yield self._slice("end", "end", event.first, event.second, row)
        elif event.kind == _CANCEL:
            args = {"task": event.task, "pool": self._pool(event.queue)}
            yield self._event("i", "cancel", "task", event.second, row, s="t", args=args)

    def _idle(self, events: Sequence[_Event]) -> Iterator[dict[str, Any]]:
        """Yield what workers wait between start, tasks and end."""
        spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for event in events:
            if event.kind == _TASK:
                spans[event.row].append((event.second, event.answered or self._ended))
            elif event.kind in (_START, _END):
                spans[event.row].append((event.first, event.second))
        gone = {event.row for event in events if event.kind == _END}
        for row, busy in spans.items():
            busy.sort()
            if row not in gone:
                busy.append((self._ended, self._ended))
            for (_, before), (after, _) in pairwise(busy):
                if max(after, self._began) > max(before, self._began):
                    yield self._slice("idle", "idle", before, after, row + 1)

    def _queues(self, events: Sequence[_Event]) -> Iterator[dict[str, Any]]:
        """Yield how many tasks wait, at each change."""
        waits: dict[tuple[int, int], tuple[int, int]] = {}
        for event in events:
            key = event.queue, event.task
            if event.kind == _SEND:
                waits.setdefault(key, (event.second, self._ended))
            elif event.first and event.kind in (_TASK, _CANCEL):
                waits[key] = event.first, event.second
        changes: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for (queue, _), (start, end) in waits.items():
            changes[queue][max(start, self._began)] += 1
            if end < self._ended:
                changes[queue][end] -= 1
        for queue, steps in changes.items():
            waiting = 0
            for time, change in sorted(steps.items()):
                waiting += change
                yield self._event("C", f"{self._pool(queue)}: tasks queued", "queue", time, 0, args={"tasks": waiting})

    def write(self, events: Sequence[_Event], about: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events of the format."""
        self._name_pools(events)
        self._sent = {(event.queue, event.task) for event in events if event.kind == _SEND}
        yield from self._metadata(about)
        for event in events:
            yield from self._task(event) if event.kind == _TASK else self._other(event)
        yield from self._idle(events)
        yield from self._queues(events)


def _unpack(data: bytes) -> list[_Event]:
    """Return the events; of a task that ended while the recording did, the one that says so."""
    events = list(map(_Event._make, _EVENT.iter_unpack(data)))
    answered = {(event.queue, event.task) for event in events if event.kind == _TASK and event.answered}
    return [e for e in events if e.kind != _TASK or e.answered or (e.queue, e.task) not in answered]


def format_recording(
    data: bytes, rows: Sequence[Row], names: Sequence[str], began: int, ended: int, about: dict[str, Any]
) -> Iterator[str]:
    """Yield the pieces of a JSON file.

    Parameters
    ----------
    data, rows, names
        As the core's trace_stop() returns them.
    began, ended : int
        When the recording did, by time.monotonic_ns().
    about : dict
        What else is to be known; ``program`` is its title.
    """
    about = {"owngil": __version__, "python": platform.python_version(), **about}
    yield '{"displayTimeUnit": "ms", "otherData": ' + json.dumps(about) + ', "traceEvents": [\n'
    separator = ""
    for event in _Writer(rows, names, began, ended).write(_unpack(data), about):
        yield separator + json.dumps(event)
        separator = ",\n"
    yield "\n]}\n"
