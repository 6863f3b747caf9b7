"""Pool.map: cuts items into chunks, submits them ahead of the reader, and yields the results.

Each chunk is a task. Unless the caller sets the size, chunks grow until one takes about `_CHUNK_SECONDS`. Then a
million tiny calls cost little each, and a hundred long ones are spread evenly. Items of known number (a list, a range,
an array) are submitted as chunks are done, whether or not the results are read, and all of them at the latest when the
pool closes. Items of a generator, which may be endless, are submitted as results are read.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextvars import copy_context
from itertools import islice, repeat
from time import monotonic
from typing import Any

from owngil import _core, _wire
from owngil._caller.deadline import seconds_left
from owngil._caller.errors import load_error
from owngil._caller.progress import Progress, make_progress
from owngil._errors import RemoteTraceback
from owngil._tasks.dispatcher import Dispatcher
from owngil._tasks.future import TaskFuture
from owngil._wire.interrupts import is_interrupt
from owngil._worker.calls import call_chunk

__all__ = ["MapCalls", "size_after"]

_CHUNK_SECONDS = 0.005  # dozens of times the overhead of a task
_GROWTH = 16  # the next chunk may be so many times as large as the largest that was measured
_AHEAD = 3  # chunks for each worker: one that runs, one that follows, and one in case the next is submitted late

type _Chunk = tuple[Sequence[Any], ...]


class _Items:
    """Items of known number; each chunk is a slice of each column."""

    def __init__(self, columns: Iterable[Any]) -> None:
        numpy = sys.modules.get("numpy")
        plain = (range, tuple, getattr(numpy, "ndarray", tuple))  # types whose slices are cheap
        self._columns = [column if type(column) in plain else list(column) for column in columns]
        self._at = 0
        self.left = min(map(len, self._columns))

    def take(self, size: int) -> _Chunk | None:
        if self.left == 0:
            return None
        size = min(size, self.left)
        at = self._at
        chunk = tuple(column[at : at + size] for column in self._columns)
        self._at += size
        self.left -= size
        return chunk


class _Stream:
    """Items of unknown number."""

    left = None

    def __init__(self, columns: Sequence[Iterable[Any]]) -> None:
        self._is_one = len(columns) == 1
        self._rows: Iterator[Any] = iter(columns[0]) if self._is_one else zip(*columns, strict=False)
        self._failure: Exception | None = None

    def take(self, size: int) -> _Chunk | None:
        if self._failure is not None:
            raise self._failure
        chunk: list[Any] = []
        try:
            chunk.extend(islice(self._rows, size))
        except Exception as error:
            if not chunk:
                raise
            self._failure = error  # raised the next time, so that the items before it are not lost
        if not chunk:
            return None
        return (chunk,) if self._is_one else tuple(zip(*chunk, strict=True))


def _has_length(column: object) -> bool:
    try:
        len(column)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


class _Done:
    """Chunks in the order in which they were done. Ctrl-C always ends a wait, because the core does the waiting."""

    def __init__(self) -> None:
        self._futures: deque[TaskFuture] = deque()
        self._count = _core.Semaphore(0)

    def put(self, future: TaskFuture) -> None:
        """Add a chunk. If an interrupt ends this, call it again."""
        if not future._is_listed:
            # No interrupt comes between these lines: the first call is that of release().
            future._is_listed = True
            self._futures += (future,)
            self._count.release()

    def get(self, timeout: float | None) -> TaskFuture | None:
        """Return the next; None if there will be none, because this process is a fork."""
        if not self._count.acquire(timeout=timeout):
            raise TimeoutError
        return self._futures.popleft() if self._futures else None

    def abandon(self) -> None:
        self._futures.clear()
        self._count.release()

    def empty(self) -> bool:
        return not self._futures


def size_after(size: int, seconds: float, count: int) -> int:
    """Return the size of the next chunk, if it was `size` before, and a chunk of `count` calls has taken `seconds`."""
    wanted = int(_CHUNK_SECONDS * count / max(seconds, 1e-9))
    return max(1, min(wanted, max(_GROWTH * count, size)))


class MapCalls:
    """One call of Pool.map.

    Parameters
    ----------
    dispatcher : Dispatcher
        Its workers run the chunks.
    workers : int
        How many there may be.
    fn : callable
        Called with an item of each column.
    columns : sequence of iterables
        Read up to the end of the shortest.
    chunksize : int or None
        Items of a chunk; None to find it by measuring.
    buffersize : int or None
        Chunks that may be submitted and not yet read; None: see the module.
    ordered : bool
        Whether results come in the order of the items.
    progress : object
        What shows how many calls are done; see `make_progress`.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        workers: int,
        fn: Callable[..., Any],
        columns: Sequence[Iterable[Any]],
        chunksize: int | None,
        buffersize: int | None,
        ordered: bool,
        progress: object = None,
    ) -> None:
        self._dispatcher = dispatcher
        self.context = copy_context()
        self._workers = workers
        self._fn = fn
        known = all(map(_has_length, columns))
        self._items = _Items(columns) if known else _Stream(columns)
        self._chunksize = chunksize
        self._size = 1
        self._follows_reader = buffersize is not None or not known
        if buffersize is None and known and chunksize is not None:
            self._ahead: float = float("inf")  # no size to find, and no reason to wait
        else:
            self._ahead = buffersize or _AHEAD * workers
        # These three need no lock: see `future` on where other threads can run. Nothing is called while they change.
        self._open = 0  # chunks that count against `_ahead`
        self._waiting: deque[TaskFuture] = deque()  # chunks that were not read
        self._early: set[TaskFuture] = set()  # chunks that were read before they were added to `_waiting`
        self._failure: BaseException | None = None  # why no further chunk can be submitted: raised after the last one
        # Held by the thread that submits, which runs code of the user: the items' iterator. Only a reader that has
        # nothing else to do waits for it, without holding another lock. Other threads set `_wanted` for the holder.
        # It is taken by `_core.locked_within` only.
        self._feeding = threading.Lock()
        self._feeder = 0  # the thread that holds it
        self._wanted = False
        self._maker = threading.get_ident()  # the thread that runs this constructor
        self._all_at_once = False  # because the pool is about to close
        self._ended = False
        self._cancelled = False
        self._done = None if ordered else _Done()
        if self._done is not None:
            dispatcher.readers.add(self._done)
        self._progress: Progress | None = None
        if progress is not None and progress is not False:
            self._progress = make_progress(progress, self._items.left, _wire.describe_callable(fn))
        try:
            if self._ahead < float("inf") and not self._follows_reader:
                dispatcher.add_source(self)  # submits also when the results are not read
            self._feed()
        except KeyboardInterrupt:
            self._stop()
            raise
        except BaseException:  # of an iterable, or because an item cannot be pickled
            _core.insist(self.cancel)
            raise
        self._maker = 0

    # Submitting

    def _next_size(self) -> int:
        if self._chunksize is not None:
            return self._chunksize
        left = self._items.left
        if left is None:
            return self._size
        size = max(1, min(self._size, -(-left // (2 * self._workers))))  # small ones at the end
        return max(size, left // (64 * self._workers)) if self._all_at_once else size

    def _submit(self) -> bool:
        """Submit the next chunk; return whether there may be another."""
        if self._failure is not None:
            _core.insist(self._end)
            return False
        try:
            chunk = self._items.take(self._next_size())
            if chunk is None:
                _core.insist(self._end)
                return False
            parts = _wire.dumps_call(call_chunk, (self._fn, chunk), {}, self._fn)
            self._open += 1
            if self._progress is not None:
                self._progress.add_part()
            future = self._dispatcher.submit(parts, self._on_done, self)
            if future in self._early:
                self._early -= {future}
            else:
                self._waiting += (future,)
        except BaseException as error:
            # A chunk is missing, so the map ends here, even if this thread is not the reader.
            self._failure = error
            if threading.get_ident() == self._maker or not isinstance(error, Exception) or is_interrupt(error):
                raise
            _core.insist(self._end)
            return False
        if self._cancelled:  # by another thread, before this chunk was added
            future.cancel()
        return not self._ended

    def _feed(self, left: float | None = 0) -> None:
        """Submit as many chunks as there may be, or leave that to the thread that submits already.

        A reader waits for that thread, for `left` seconds at most.
        """
        self._wanted = True
        if left is not None:
            left = min(left, threading.TIMEOUT_MAX)
        while self._wanted and _core.locked_within(self._feeding, left, self._submit_all):
            pass

    def _submit_all(self) -> None:
        self._wanted = False
        self._feeder = threading.get_ident()
        try:
            while not self._ended and (self._all_at_once or self._open < self._ahead) and self._submit():
                pass
        finally:
            self._feeder = 0

    def _end(self) -> None:
        """Record that nothing more is submitted. If an interrupt ends this, call it again: `_core.insist` does."""
        self._ended = True
        self._dispatcher.end_source(self)
        if self._progress is not None:
            self._progress.end_parts()

    def submit_rest(self) -> None:
        """Submit the rest, or leave that to the thread that submits already: the pool closes when the map has ended."""
        self._all_at_once = True
        try:
            self._feed()
        except BaseException:  # Ctrl-C: no thread will submit the rest
            _core.insist(self.cancel)
            raise
        if self._ended:  # perhaps an interrupt has cut the end short
            _core.insist(self._end)

    def leave_off(self) -> None:
        """Submit nothing more if the calling thread is the one that submits: it cannot wait for itself."""
        if self._feeder == threading.get_ident():
            self._cancelled = True
            _core.insist(self._end)

    def cancel(self) -> None:
        """Submit nothing more, and cancel the chunks that have not started."""
        self._cancelled = True
        _core.insist(self._end)
        for future in list(self._waiting):
            future.cancel()
        if self._progress is not None:
            self._progress.close()

    # Done

    def _on_done(self, future: TaskFuture) -> None:
        """Adapt the size to a chunk's time, and submit more. Called by the thread that has resolved the future.

        It is called again if an interrupt ends it.
        """
        done = future._status == "FINISHED" and future._exception is None
        count = len(future._result[2]) if done else 0
        progress = self._progress
        if not future._is_counted:
            # No interrupt comes between these lines, because nothing is called.
            future._is_counted = True
            if not self._follows_reader:
                self._open -= 1
            if progress is not None:
                progress.parts -= 1
                progress.done += count
        if done:
            seconds, calls = future._result[:2]
            self._size = size_after(self._size, seconds, calls)
        if self._done is not None:
            self._done.put(future)
        if progress is not None:
            progress.tell()
        if not self._follows_reader:
            self._feed()

    def _next_done(self, left: float | None) -> TaskFuture | None:
        """Return the next chunk to be read, done or not; None after the last."""
        if self._dispatcher.abandoned:  # in a forked child
            raise self._dispatcher.forked_error()
        if not self._waiting:
            self._feed(left)
        if not self._waiting:
            if self._failure is not None:
                failure, self._failure = self._failure, None  # its traceback holds this object
                raise failure
            if self._cancelled and self._items.left:
                raise CancelledError  # the pool was shut down with cancel_futures
            if not self._ended:
                raise TimeoutError
            return None
        done = self._done
        if done is None:
            return self._waiting[0]
        self._dispatcher.about_to_wait(lambda: not done.empty(), None if left is None else monotonic() + left)
        future = done.get(left)
        if future is None:
            raise self._dispatcher.forked_error()
        return future

    def _forget(self, future: TaskFuture) -> None:
        # No other thread can run between a look and the change.
        if self._follows_reader:
            self._open -= 1
        if future in self._waiting:
            self._waiting.remove(future)  # the first, if results are in order
        else:
            self._early |= {future}

    def results(self, deadline: float | None) -> Iterator[Any]:
        """Return an iterator over the results of the calls; see `_read`."""
        values = self._read(deadline)
        if self._progress is not None:
            self._progress.close_with(values)
        return values

    def _read(self, deadline: float | None) -> Iterator[Any]:
        """Yield the results of the calls. The first exception ends the map.

        Parameters
        ----------
        deadline : float or None
            When to raise TimeoutError, by time.monotonic().
        """
        try:
            while (future := self._next_done(seconds_left(deadline))) is not None:
                _, _, values, failure = future.result(seconds_left(deadline))
                self._forget(future)
                del future
                self._feed()
                values.reverse()
                # This keeps no reference to a result that it has given out.
                yield from map(values.pop, repeat(-1, len(values)))
                if failure is not None:
                    raise load_error(failure)
                del values
            if self._progress is not None:
                self._progress.join()
        except KeyboardInterrupt as error:
            if not isinstance(error.__cause__, RemoteTraceback):  # else a call has raised it
                self._stop()
            raise
        finally:
            _core.insist(self.cancel)
            if self._progress is not None:
                self._progress.close_soon()

    def _stop(self) -> None:
        """Cancel and interrupt the chunks that were not read."""
        self.cancel()
        for future in list(self._waiting):
            future.stop()
