"""Progress of maps and of futures: counts what is done, and tells a bar or whoever else wants to know.

Whatever thread learns that something is done may tell the bar: the collector, or one that waits for a result. One does
so at a time, and tells what came in the meantime as well. So nothing here waits, but for the reader at the end, who
must find the bar as it should be.
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Protocol

from owngil._caller.deadline import seconds_left

__all__ = ["Progress", "make_progress"]

_PATIENCE = 1.0  # seconds that an end before the time waits for who is telling the bar something


class _Sink(Protocol):
    """Who is told."""

    def advance(self, step: int, done: int, total: int | None) -> None:
        """So many more are done."""

    def close(self, complete: bool, done: int) -> None:
        """There will be no more; `complete` if these were all."""


class _Call:
    def __init__(self, function: Callable[[int, int | None], object]) -> None:
        self._function = function

    def advance(self, step: int, done: int, total: int | None) -> None:
        self._function(done, total)

    def close(self, complete: bool, done: int) -> None:
        pass


class _Tqdm:
    """A bar of tqdm's; `owned` if nobody else will close it."""

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
    """Counts what is done in parts, of which it is told when one begins, when one is done, and that there are no more.

    What `wanted` raises goes to sys.excepthook, and nothing is told from then on: it is no reason to lose results.

    Parameters
    ----------
    wanted : object
        What the user gave; see `Pool.map`.
    total : int or None
        How many there will be; None: nobody knows.
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
        # Guards what follows, for moments; reentrant, as a finalizer or a signal handler may come in.
        self._changed = threading.Condition(threading.RLock())
        self._done = 0
        self._told = 0
        self._parts = 0  # that are not done
        self._ended = False  # there are no more parts
        self._closing = False
        self._closed = False
        self._teller = 0  # the thread that is at the sink
        self._pid = os.getpid()  # a fork tells nothing: what is not done there never will be

    def begin(self) -> None:
        """Take note of a part, of which `finish` may be called already."""
        with self._changed:
            self._parts += 1

    def finish(self, count: int) -> None:
        """Take note that a part is done, and that it was so many."""
        if self._pid == os.getpid():
            with self._changed:
                self._parts -= 1
                self._done += count
            self._tell()

    def end(self) -> None:
        """Take note that there are no more parts. May be called again."""
        if self._pid == os.getpid():
            with self._changed:
                self._ended = True
            self._tell()

    def close(self) -> None:
        """Tell nothing from now on, whether or not all is done. Never waits."""
        if self._pid == os.getpid():
            with self._changed:
                self._closing = True
            self._tell()

    def close_with(self, values: Iterator[Any]) -> None:
        """Close at the latest when the iterator goes, which may never be read."""
        weakref.finalize(values, self.close).atexit = False

    def close_soon(self) -> None:
        """Close, and give the thread that is telling something the time to do so."""
        self.close()
        self._await_close(_PATIENCE)

    def join(self) -> None:
        """Wait until all has been told; all is done, or about to be."""
        self._await_close(None)

    def _await_close(self, timeout: float | None) -> None:
        if self._pid != os.getpid():
            return
        deadline = None if timeout is None else monotonic() + timeout
        with self._changed:
            while not self._closed or self._teller:
                if self._teller == threading.get_ident() or seconds_left(deadline) == 0:
                    break
                self._changed.wait(seconds_left(deadline))

    def _tell(self) -> None:
        """Tell what is new, or let the thread do it that is at it."""
        while True:
            with self._changed:
                if self._teller or self._closed:
                    return
                done, step = self._done, self._done - self._told
                complete = self._ended and self._parts == 0
                closing = complete or self._closing
                if step == 0 and not closing:
                    return
                self._teller = threading.get_ident()
                self._told = done
            closed = closing
            try:
                if step:
                    self._sink.advance(step, done, self._total)
                if closing:
                    self._sink.close(complete, done)
            except BaseException as error:
                # In the main thread, it may be Ctrl-C, or what a signal handler raises.
                if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
                    raise
                closed = True
                sys.excepthook(*sys.exc_info())
            finally:
                with self._changed:
                    self._teller = 0
                    self._closed = closed
                    self._changed.notify_all()


def make_progress(wanted: object, total: int | None, description: str) -> Progress | None:
    """Return who counts, or None if nobody wants to know. A bar must not be asked whether it is true."""
    return None if wanted is False or wanted is None else Progress(wanted, total, description)
