"""What becomes of the workers when the interpreter that started them ends, or its process forks."""

import atexit
import os
import sys
import weakref
from collections.abc import Callable
from typing import Protocol

from owngil import _core

__all__ = ["Endable", "at_end", "known", "live"]


class Endable(Protocol):
    """A group of workers; see Dispatcher, the one implementation."""

    given_up: bool

    def close(self) -> None:
        """Take no more tasks. Never waits."""

    def stop(self) -> None:
        """Cancel what waits and interrupt what runs. Never waits."""

    def join(self) -> None:
        """Wait until the workers have ended; after close()."""

    def abandon(self) -> None:
        """Forget the workers: this process is a fork, which has none of their threads."""


live: set[Endable] = set()  # those that have a collector
at_end: list[Callable[[], None]] = []  # to be called when all have ended
known: weakref.WeakSet[Endable] = weakref.WeakSet()  # all


def _is_left_by_ctrl_c() -> bool:
    """Return whether the program ends because of a KeyboardInterrupt that nobody caught."""
    return isinstance(getattr(sys, "last_exc", None), KeyboardInterrupt) and not hasattr(sys, "ps1")


def _end_all() -> None:
    """At exit: finish what was submitted, as the standard library's executors do.

    Ctrl-C cuts it short, here or when it has ended the program: what waits is cancelled, what runs is interrupted. With
    Ctrl-C once more, the process ends without those workers that do not notice.
    """
    cut_short = _is_left_by_ctrl_c()
    dispatchers = [dispatcher for dispatcher in live if not (cut_short and dispatcher.given_up)]
    open_ones = dispatchers.copy()
    while dispatchers:
        try:
            while open_ones:  # this may take a while, too: it submits what is left of maps
                if cut_short:
                    open_ones[-1].stop()
                open_ones[-1].close()
                open_ones.pop()
            if cut_short:
                dispatchers[-1].stop()
            dispatchers[-1].join()
        except KeyboardInterrupt:
            if cut_short:
                break
            cut_short = True
        except Exception:
            sys.excepthook(*sys.exc_info())
            dispatchers.pop()
        else:
            dispatchers.pop()
    for finish in list(at_end):
        try:
            finish()
        except Exception:
            sys.excepthook(*sys.exc_info())
    if _core.in_main_interpreter():
        if cut_short and live:
            _core.end_process_by_sigint()
        else:
            _core.end_kept_workers()


def _forget_all() -> None:
    """In a forked child."""
    _core.after_fork()
    for dispatcher in list(known):
        dispatcher.abandon()
    live.clear()
    at_end.clear()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forget_all)
