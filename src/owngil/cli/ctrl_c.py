"""Keeps Ctrl-C away from steps that must not be left in the middle."""

import contextlib
import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["DeferredCtrlC"]


class DeferredCtrlC(contextlib.AbstractContextManager["DeferredCtrlC"]):
    """Within the block, Ctrl-C waits until `let_in` is called, or until the end of the block."""

    def __init__(self) -> None:
        self._before: Any = None
        self._came = False

    def __enter__(self) -> "DeferredCtrlC":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        self.let_in()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came = True

    def let_in(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C came meanwhile, and let it come again."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
        if self._came:
            self._came = False
            raise KeyboardInterrupt
