"""What becomes of the workers when the interpreter that started them ends, or its process forks."""

import atexit
import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import NoReturn, Protocol

from owngil import _core
from owngil._caller.notebooks import is_kernel

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


def _note_ctrl_c_again() -> None:
    """Let CPython end the process as SIGINT does, if that is how the program ended.

    It notes for the whole process how the last source text that was run has ended: a worker that has evaluated some
    since, as many modules do when they are imported, has made it forget.
    """
    if _is_left_by_ctrl_c():
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")


def _await_all() -> bool:
    """Finish what was submitted, as the standard library's executors do at exit; return whether all have ended.

    Ctrl-C cuts it short, here or when it has ended the program: what waits is cancelled, what runs is interrupted.
    Ctrl-C once more, and those that do not notice are given up. A notebook's kernel does not wait either: it
    ends because somebody has said so.
    """
    cut_short = _is_left_by_ctrl_c() or is_kernel()
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
    return not live


_leaving = False


def _leave() -> NoReturn:
    """End the process though workers are still running, which CPython could not: it would wait for them, or crash.

    What is left to do of an ordinary end is done, and then it is SIGINT's, as always when Ctrl-C ends a program.
    """
    global _leaving
    _leaving = True
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    _core.die_of_sigint()


def _end_first() -> None:
    """Wait for the workers, before any other function of atexit has run: so _leave() can have all of them run."""
    if not _leaving and not _await_all():
        _leave()


def _end_last() -> None:
    """End what has been started since, and what is to end when nothing can be started any more."""
    ended = _leaving or _await_all()
    for finish in list(at_end):
        try:
            finish()
        except Exception:
            sys.excepthook(*sys.exc_info())
    if _core.in_main_interpreter() and not _leaving:
        if not ended:
            _core.die_of_sigint()
        _core.end_kept_workers()
        _note_ctrl_c_again()


def _forget_all() -> None:
    """In a forked child."""
    _core.after_fork()
    for dispatcher in list(known):
        dispatcher.abandon()
    live.clear()
    at_end.clear()


atexit.register(_end_last)
if _core.in_main_interpreter():
    # What this registers runs when the program has ended, and before the threads that it left are waited for: these may
    # still submit. What it registers there comes first of all.
    with contextlib.suppress(AttributeError, RuntimeError):  # it is not public; and owngil may be imported at exit
        threading._register_atexit(atexit.register, _end_first)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_forget_all)
