"""Ends the workers when the interpreter that has started them ends, and forgets them in a forked child."""

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

__all__ = ["Endable", "at_end", "check_not_too_late", "end_last", "known", "live"]


class Endable(Protocol):
    """A group of workers; see Dispatcher, the one implementation."""

    given_up: bool

    def close(self) -> None:
        """Take no more tasks. Never waits."""

    def stop(self) -> None:
        """Cancel the tasks that wait, and interrupt those that run. Never blocks."""

    def join(self) -> None:
        """Wait until the workers have ended; after close()."""

    def abandon(self) -> None:
        """Forget the workers: this process is a fork, which has none of their threads."""


live: set[Endable] = set()  # dispatchers that have a collector
at_end: list[Callable[[], None]] = []  # functions to call when all have ended
known: weakref.WeakSet[Endable] = weakref.WeakSet()  # all dispatchers


def _is_left_by_ctrl_c() -> bool:
    """Return whether the program ends because of a KeyboardInterrupt that was not caught."""
    return isinstance(getattr(sys, "last_exc", None), KeyboardInterrupt) and not hasattr(sys, "ps1")


def _record_ctrl_c() -> None:
    """Let CPython end the process as SIGINT does, if Ctrl-C has ended the program.

    CPython records for the whole process whether Ctrl-C has ended the last source text that was run. A worker that has
    run some since, as many modules do when they are imported, has overwritten the record.
    """
    if _is_left_by_ctrl_c():
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")


def _await_all() -> bool:
    """Finish the tasks that were submitted, as the standard library's executors do at exit; return whether all ended.

    If Ctrl-C comes during that, or has ended the program, tasks that wait are cancelled, and those that run are
    interrupted. With another Ctrl-C, those that do not notice are given up. A notebook's kernel does not finish tasks
    either: its user has ended it.
    """
    cut_short = _is_left_by_ctrl_c() or is_kernel()
    dispatchers = [dispatcher for dispatcher in live if not (cut_short and dispatcher.given_up)]
    open_ones = dispatchers.copy()
    while dispatchers:
        try:
            while open_ones:  # within the `try`, because this submits what is left of maps, and may take long
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
    """End the process while workers are still running. CPython itself would wait for them, or crash.

    Run the functions of atexit and flush the streams, as at an ordinary end, and then end as by SIGINT.
    """
    global _leaving
    _leaving = True
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    _core.die_of_sigint()


def _end_first() -> None:
    """Wait for the workers before other functions of atexit run, so that _leave() can run all of those."""
    if not _leaving and not _await_all():
        _leave()


def end_last() -> None:
    """End the workers that were started since, and call the functions of `at_end`: no worker can start any more."""
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
        _record_ctrl_c()


def _forget_all() -> None:
    """Forget the workers, in a forked child."""
    _core.after_fork()
    for dispatcher in list(known):
        dispatcher.abandon()
    live.clear()
    at_end.clear()


_is_too_late = False  # functions of atexit run already: no more of them are called


def check_not_too_late() -> None:
    """Raise RuntimeError if nothing would end workers that start now."""
    if _is_too_late:
        raise RuntimeError(
            "workers cannot start: the program is ending, and owngil was imported only now. "
            "Exit functions may use it if it was imported before"
        )


atexit.register(end_last)
if _core.in_main_interpreter():
    # threading calls this at the end of the program, before it waits for the threads that are left, which may submit
    # tasks. A function that is registered with atexit then runs before those that were registered earlier.
    try:
        threading._register_atexit(atexit.register, _end_first)  # type: ignore[attr-defined]
    except AttributeError:
        pass  # it is not public
    except RuntimeError:  # the program is ending: the main thread runs functions of atexit, or waits for other threads
        _is_too_late = threading.current_thread() is threading.main_thread()
os.register_at_fork(after_in_child=_forget_all)
