"""Deadlines of waits."""

from time import monotonic

__all__ = ["seconds_left"]


def seconds_left(deadline: float | None) -> float | None:
    """Return the seconds until a moment of time.monotonic(), at least 0; None: for ever."""
    return None if deadline is None else max(0.0, deadline - monotonic())
