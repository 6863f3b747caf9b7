"""The machine on which the figures were measured."""

import platform

__all__ = ["cpu_model"]


def cpu_model() -> str:
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
