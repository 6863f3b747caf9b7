"""The thread that takes in answers, made so that notebooks show its output in the right cell; and what a kernel is."""

import sys
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any

__all__ = ["Collector", "is_kernel"]


class Collector(threading.Thread):
    """A thread that belongs to no cell, so that its output appears in the cell that is running.

    ipykernel before 7 patches Thread.run to record in which cell a thread was started. And threads may inherit the
    context of that cell.
    """

    def __init__(self, collect: Callable[[], None], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._collect = collect

    def run(self) -> None:
        """Collect, in a context of its own."""
        Context().run(self._collect)


def is_kernel() -> bool:
    """Whether this process is a kernel that a notebook's server has started."""
    module: Any = sys.modules.get("ipykernel.kernelapp")
    return module is not None and module.IPKernelApp.initialized() and bool(module.IPKernelApp.instance().parent_handle)
