"""What the workers of `api_calls.py` run. Each task counts that it runs, by a counter that all interpreters share."""

import threading
from collections.abc import Callable
from typing import Any

import owngil

__all__ = [
    "CannotLeave", "apply", "cannot_go_back", "fail", "fail_at", "gated", "give", "give_lambda", "misuse", "nested",
    "nested_map", "same",
]  # fmt: skip


class CannotLeave(Exception):
    """An exception that cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("it stays")


def same(value: Any) -> Any:
    """Return what came."""
    return value


def apply(fn: Callable[..., Any], *args: Any) -> Any:
    """Call a function that came by value or as a method."""
    return fn(*args)


def give(ran: owngil.Counter, value: Any) -> Any:
    """Return what came, as a task."""
    ran.add()
    return value


def give_lambda(ran: owngil.Counter, value: Any) -> Callable[[], Any]:
    """Return a function that goes by value."""
    ran.add()
    return lambda: value


def fail(ran: owngil.Counter, kind: type[BaseException], text: str) -> None:
    """Raise an exception."""
    ran.add()
    raise kind(text)


def cannot_go_back(ran: owngil.Counter) -> Any:
    """Return what cannot be pickled."""
    ran.add()
    return threading.Lock()


def gated(ran: owngil.Counter, gate: owngil.Event, value: Any) -> Any:
    """Wait until the caller opens the gate."""
    ran.add()
    gate.wait()
    return value


def nested(ran: owngil.Counter, pool: owngil.Pool, count: int, timeout: float | None) -> list[int]:
    """Run tasks in a pool that was handed to this worker, and wait for them."""
    ran.add()
    futures = [pool.submit(give, ran, k) for k in range(count)]
    return [future.result(timeout) for future in futures]


def nested_map(ran: owngil.Counter, pool: owngil.Pool, count: int) -> list[int]:
    """Map in a pool that was handed to this worker."""
    ran.add()
    return list(pool.map(same, range(count), chunksize=2))


def misuse(ran: owngil.Counter, pool: owngil.Pool) -> list[str]:
    """Return which methods of a handed pool raise RuntimeError."""
    ran.add()
    refused = []
    calls = [("shutdown", ()), ("stats", ()), ("broadcast", (abs, 1)), ("with_timeout", (1,)), ("__enter__", ())]
    for name, args in calls:
        try:
            getattr(pool, name)(*args)
        except RuntimeError:
            refused.append(name)
    return refused


def fail_at(bad: int, value: int) -> int:
    """Return twice the value, or raise if it is the bad one."""
    if value == bad:
        raise LookupError(value)
    return 2 * value
