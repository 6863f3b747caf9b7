"""Functions that the workers of all executors run.

This module lies outside of the package, in a folder that `runs` puts on the path: its imports count as the workers'
start-up, so it must not import owngil itself.
"""

import os
import time
from typing import Any

__all__ = ["echo", "give", "import_numpy", "keep", "load_kernel", "meet", "noop", "ping", "spin", "take", "touch"]

_kept: Any = None
_channels: tuple[Any, ...] = ()


def noop(x: object) -> object:
    """Return the argument."""
    return x


def meet(folder: str, k: int, count: int) -> int:
    """Wait until `count` workers run this at the same time, so that each has one call; return the process id."""
    with open(f"{folder}/{k}", "w"):
        pass
    limit = time.monotonic() + 60
    while len(os.listdir(folder)) < count:
        if time.monotonic() > limit:
            raise TimeoutError(f"{count} calls did not get {count} workers within a minute")
        time.sleep(0.0005)
    return os.getpid()


def import_numpy(folder: str, k: int, count: int) -> int:
    """Import NumPy in each of `count` workers."""
    import numpy

    assert numpy.ones(3).sum() == 3
    return meet(folder, k, count)


def load_kernel(folder: str, k: int, count: int) -> int:
    """Import the picture's modules in each of `count` workers."""
    import owngil.cli.mandelbrot.fractal  # noqa: F401 - so that it is there

    return meet(folder, k, count)


def touch(array: Any) -> int:
    """Read the last byte of an array argument."""
    return int(array[-1])


def keep(nbytes: int, folder: str, k: int, count: int) -> int:
    """Make an array in each of `count` workers that `give` returns."""
    import numpy

    global _kept
    _kept = numpy.ones(nbytes, numpy.uint8)
    return meet(folder, k, count)


def give() -> Any:
    """Return this worker's array."""
    return _kept


def spin(loops: int) -> float:
    """Keep a core busy."""
    x = 1.0
    for _ in range(loops):
        x = x * 0.999999 + 0.5
    return x


def take(*channels: Any) -> None:
    """Keep the channels that a worker gets at its start, for `ping` and `echo`."""
    global _channels
    _channels = channels


def ping(rounds: int, *channels: Any) -> list[float]:
    """Send messages and wait for each to come back; return the seconds of each round."""
    there, back = channels or _channels
    seconds = []
    for k in range(rounds):
        start = time.perf_counter()
        _send(there, k)
        answer = _receive(back)
        seconds.append(time.perf_counter() - start)
        assert answer == k
    return seconds


def echo(rounds: int, *channels: Any) -> list[float]:
    """Send back each message."""
    there, back = channels or _channels
    for _ in range(rounds):
        _send(back, _receive(there))
    return []


def _send(channel: Any, obj: object) -> None:
    if hasattr(channel, "send"):
        channel.send(obj)
    else:
        channel.put(obj)


def _receive(channel: Any) -> object:
    return channel.recv() if hasattr(channel, "recv") else channel.get()
