"""Progress of maps and of futures: counts what is done, and updates a bar or calls a function.

Every thread that learns that something is done may update the bar: the collector, or a thread that waits for a result.
One thread does so at a time; it also shows what other threads have counted meanwhile. So none of them waits. Only the
reader waits, at its end, until the bar is complete.

Counting needs no lock. CPython gives the GIL to other threads, and runs signal handlers, only at the start of a
function, after a call, and before a loop begins again; nothing is called while numbers change.
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from owngil import _core
from owngil._wire.interrupts import is_interrupt

__all__ = ["Progress", "make_progress"]

_PATIENCE = 1.0  # seconds that an early end waits for a thread that updates the bar


class _Sink(Protocol):
    """What shows progress."""

    def advance(self, step: int, done: int, total: int | None) -> None:
        """Show that `step` more are done."""

    def close(self, complete: bool, done: int) -> None:
        """Show that there will be no more; `complete` if all are done."""


class _Call:
    def __init__(self, function: Callable[[int, int | None], object]) -> None:
        self._function = function

    def advance(self, step: int, done: int, total: int | None) -> None:
        self._function(done, total)

    def close(self, complete: bool, done: int) -> None:
        pass


class _Tqdm:
    """A bar of tqdm. It is closed at the end if it is `owned`; else its user will do that."""

    def __init__(self, bar: Any, owned: bool) -> None:
        self._bar = bar
        self._owned = owned

    def advance(self, step: int, done: int, total: int | None) -> None:
        self._bar.update(step)

    def close(self, complete: bool, done: int) -> None:
        if self._owned:
            self._bar.close()
        else:
            self._bar.refresh()


class _Rich:
    """A task of a rich.progress.Progress, which its user starts and stops."""

    def __init__(self, progress: Any, description: str, total: int | None) -> None:
        self._progress = progress
        self._total = total
        self._task = progress.add_task(description, total=total)

    def advance(self, step: int, done: int, total: int | None) -> None:
        self._progress.advance(self._task, step)

    def close(self, complete: bool, done: int) -> None:
        if complete and self._total is None:
            self._progress.update(self._task, total=done)
        self._progress.stop_task(self._task)
        self._progress.refresh()


def _is_bar(obj: object) -> bool:
    return all(hasattr(obj, name) for name in ("update", "refresh", "close", "total"))


def _sink_for(wanted: Any, total: int | None, description: str) -> _Sink:
    if wanted is True or isinstance(wanted, str):
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise ImportError(
                "a progress bar needs tqdm: pip install tqdm. Or pass a function, to be called with (done, total)"
            ) from None
        return _Tqdm(tqdm(total=total, desc=None if wanted is True else wanted), owned=True)
    if isinstance(wanted, type) and all(hasattr(wanted, name) for name in ("update", "refresh", "close")):
        return _Tqdm(wanted(total=total), owned=True)
    if _is_bar(wanted):
        if wanted.total is None and total is not None:
            wanted.total = total
            wanted.refresh()
        return _Tqdm(wanted, owned=False)
    if hasattr(wanted, "add_task") and hasattr(wanted, "advance"):
        return _Rich(wanted, description, total)
    if callable(wanted):
        return _Call(wanted)
    raise TypeError(
        "progress must be True, a description, a function to be called with (done, total), a tqdm bar or a"
        f" rich.progress.Progress, not {type(wanted).__name__}"
    )


class Progress:
    """Counts what is done, part by part: `add_part`, then `finish_part` for each, and `end_parts` when all were added.

    When the bar or function raises an exception, sys.excepthook gets it, and it is not used any more. Results are not
    lost by that.

    Parameters
    ----------
    wanted : object
        What the user gave; see `Pool.map`.
    total : int or None
        How many there will be; None if that is not known.
    description : str
        What is being done.

    Raises
    ------
    TypeError
        If it is nothing that can be told.
    ImportError
        If it takes tqdm, and that is not installed.
    """

    def __init__(self, wanted: object, total: int | None, description: str) -> None:
        self._total = total
        self._sink = _sink_for(wanted, total, description)
        self.done = 0
        self.parts = 0  # parts that are not done
        self._told = 0
        self._ended = False  # all parts were added
        self._all_done = False
        self._closing = False
        self._closed = _core.Event()  # set when the sink is not used any more
        # Held by the thread that updates the sink. It is taken by `_core.locked_within` only.
        self._telling = threading.Lock()
        self._teller = 0  # that thread
        self._pid = os.getpid()  # a forked child shows no progress, because its tasks will never be done

    def add_part(self) -> None:
        """Count a part. `finish_part` may have been called for it already."""
        self.parts += 1

    def finish_part(self, count: int) -> None:
        """Count a part, with `count` items, as done."""
        if not self._all_done:
            self.parts -= 1
            self.done += count
        self.tell()

    def finish_all(self, count: int) -> None:
        """Count all parts as done, with `count` items in all. Signal handlers may have ended calls of `finish_part`."""
        self._all_done = True
        self.parts = 0
        self.done = count
        self.tell()

    def end_parts(self) -> None:
        """Say that all parts were added. May be called again."""
        self._ended = True
        self.tell()

    def close(self) -> None:
        """Show no progress from now on, whether or not all is done. Never waits."""
        self._closing = True
        self.tell()

    def close_with(self, values: Iterator[Any]) -> None:
        """Close when the iterator is deleted, at the latest: it may never be read."""
        weakref.finalize(values, self.close).atexit = False

    def close_soon(self) -> None:
        """Close, and wait a moment for a thread that updates the sink."""
        self.close()
        self._await_close(_PATIENCE)

    def join(self) -> None:
        """Wait until the sink shows that all is done. Call it when all is done, or will be soon."""
        self._await_close(None)

    def _await_close(self, timeout: float | None) -> None:
        self.tell()
        if self._pid == os.getpid() and self._teller != threading.get_ident():
            self._closed.wait(timeout)

    def _has_news(self) -> bool:
        complete = self._ended and self.parts == 0
        return not self._closed.is_set() and (self.done != self._told or complete or self._closing)

    def tell(self) -> None:
        """Update the sink, unless another thread does: then that one shows the news, too."""
        if self._pid == os.getpid():
            while self._has_news() and _core.locked_within(self._telling, 0, self._show):
                pass

    def _show(self) -> None:
        if self._closed.is_set():
            return
        self._teller = threading.get_ident()
        try:
            complete = self._ended and self.parts == 0
            closing = complete or self._closing
            done, step = self.done, self.done - self._told
            self._told = done
            if step:
                self._sink.advance(step, done, self._total)
            if closing:
                self._sink.close(complete, done)
                self._closed.set()
        except BaseException as error:
            # In the main thread, it may be Ctrl-C, or an exception of a signal handler.
            if is_interrupt(error):
                raise
            self._closed.set()
            sys.excepthook(*sys.exc_info())
        finally:
            self._teller = 0


def make_progress(wanted: object, total: int | None, description: str) -> Progress | None:
    """Return what counts and shows progress, or None if that is not wanted."""
    # By identity, because the truth of a bar of tqdm is whether it has items.
    return None if wanted is False or wanted is None else Progress(wanted, total, description)
