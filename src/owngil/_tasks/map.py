"""What Pool.map does: cuts items into chunks, submits them ahead of the reader, and hands out what becomes of them.

Each chunk is a task. Unless the caller says how large, chunks grow until one takes about `_CHUNK_SECONDS`: a million
tiny calls then cost little each, and a hundred long ones are spread evenly. Items of known number (a list, a range,
an array) are submitted as chunks are done, whether or not anybody reads, and all at the latest when the pool closes;
those of a generator, which may be endless, as results are read.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextvars import copy_context
from itertools import islice
from time import monotonic
from typing import Any

from owngil import _core, _wire
from owngil._caller.deadline import seconds_left
from owngil._caller.errors import load_error
from owngil._caller.progress import Progress, make_progress
from owngil._errors import RemoteTraceback
from owngil._tasks.dispatcher import Dispatcher
from owngil._tasks.future import TaskFuture
from owngil._worker.calls import call_chunk

__all__ = ["MapCalls", "size_after"]

_CHUNK_SECONDS = 0.005  # some dozen times what a task costs beside its work
_GROWTH = 16  # how many times the largest chunk that was measured the next may be
_AHEAD = (
    3  # chunks for each worker: one that runs, one for the moment after, one for when nobody submits at that moment
)

type _Chunk = tuple[Sequence[Any], ...]


class _Items:
    """Items of known number; each chunk is a slice of each column."""

    def __init__(self, columns: Iterable[Any]) -> None:
        numpy = sys.modules.get("numpy")
        plain = (range, tuple, getattr(numpy, "ndarray", tuple))  # what is sliced without being read
        self._columns = [column if type(column) in plain else list(column) for column in columns]
        self._at = 0
        self.left = min(map(len, self._columns))

    def take(self, size: int) -> _Chunk | None:
        if self.left == 0:
            return None
        size = min(size, self.left)
        at = self._at
        self._at += size
        self.left -= size
        return tuple(column[at : at + size] for column in self._columns)


class _Stream:
    """Items of which nobody knows how many there are."""

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
            self._failure = error  # for the next time: what came before it is not lost
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
    """Chunks in the order in which they were done. Ctrl-C ends a wait at whatever moment it comes; see wait.c."""

    def __init__(self) -> None:
        self._futures: deque[Future[Any]] = deque()
        self._count = _core.Semaphore(0)

    def put(self, future: Future[Any]) -> None:
        self._futures.append(future)
        self._count.release()

    def get(self, timeout: float | None) -> Future[Any] | None:
        """Return the next; None: there will be none, as this process is a fork."""
        if not self._count.acquire(timeout=timeout):
            raise TimeoutError
        return self._futures.popleft() if self._futures else None

    def abandon(self) -> None:
        self._futures.clear()
        self._count.release()

    def empty(self) -> bool:
        return not self._futures


def size_after(size: int, seconds: float, count: int) -> int:
    """Return the size of the next chunk, when the last was to be `size`, and one of `count` calls took `seconds`."""
    wanted = int(_CHUNK_SECONDS * count / max(seconds, 1e-9))
    return max(1, min(wanted, max(_GROWTH * count, size)))


class MapCalls:
    """One call of Pool.map.

    Parameters
    ----------
    dispatcher : Dispatcher
        Whose workers run the chunks.
    workers : int
        How many there may be.
    fn : callable
        Called with an item of each column.
    columns : sequence of iterables
        Read up to the end of the shortest.
    chunksize : int or None
        Items of a chunk; None: found by measuring.
    buffersize : int or None
        Chunks that may be submitted and not yet read; None: see the module.
    ordered : bool
        Whether results come in the order of the items.
    progress : object
        Who wants to know how many calls are done; see `make_progress`.
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
            self._ahead: float = float("inf")  # there is nothing to find out, and nothing to wait for
        else:
            self._ahead = buffersize or _AHEAD * workers
        # Guards `_open`, `_waiting` and `_early`: for moments, in which nothing of the user's runs. Reentrant, as a
        # signal handler may come in.
        self._lock = threading.RLock()
        self._open = 0  # chunks that count against `_ahead`
        self._waiting: deque[Future[Any]] = deque()  # those that are not read
        self._early: set[Future[Any]] = set()  # those that were read before they were in there
        # Who submits has it, and runs the user's code. Only a reader who has nothing else to do waits for it, and holds
        # nothing meanwhile: others leave word in `_wanted`.
        self._feeding = threading.Lock()
        self._feeder = 0  # the thread that has it
        self._wanted = False
        self._maker = threading.get_ident()  # the thread that is in here
        self._all_at_once = False  # as the pool is about to close
        self._ended = False
        self._cancelled = False
        self._done = None if ordered else _Done()
        if self._done is not None:
            dispatcher.readers.add(self._done)
        self._progress: Progress | None = None
        if progress is not None and progress is not False:
            self._progress = make_progress(progress, self._items.left, _wire.describe_callable(fn))
        if self._ahead < float("inf") and not self._follows_reader:
            dispatcher.add_source(self)  # it goes on when nobody reads
        try:
            self._feed()
        except KeyboardInterrupt:
            self._stop()
            raise
        except BaseException:  # of an iterable's, or an item that cannot be pickled
            self.cancel()
            raise
        self._maker = 0

    # Submitting

    def _next_size(self) -> int:
        if self._chunksize is not None:
            return self._chunksize
        left = self._items.left
        if left is None:
            return self._size
        size = max(1, min(self._size, -(-left // (2 * self._workers))))  # the last ones small, for all to end together
        return max(size, left // (64 * self._workers)) if self._all_at_once else size

    def _submit(self) -> bool:
        """Submit the next chunk; return whether there may be another."""
        future: Future[Any]
        try:
            chunk = self._items.take(self._next_size())
            if chunk is None:
                self._end()
                return False
            parts = _wire.dumps_call(call_chunk, (self._fn, chunk), {}, self._fn)
            with self._lock:
                self._open += 1
            future = self._dispatcher.submit(parts, self._on_done, self)
            if self._progress is not None:
                self._progress.begin()
        except Exception as error:
            if threading.get_ident() == self._maker:
                raise
            future = Future()  # for the reader, who gets it in its turn, whoever comes upon it
            future.set_exception(error)
            self._end()
            if self._done is not None:
                self._done.put(future)
        try:
            with self._lock:
                if future in self._early:
                    self._early.remove(future)
                else:
                    self._waiting.append(future)
        except KeyboardInterrupt:  # nobody will read it
            if isinstance(future, TaskFuture):
                future.stop()
            raise
        if self._cancelled:  # by somebody who did not see this one
            future.cancel()
        return not self._ended

    def _feed(self, left: float | None = 0) -> None:
        """Submit what may be; or let the thread do it that is at it, for which a reader waits so many seconds."""
        self._wanted = True
        while self._feeding.acquire(timeout=-1 if left is None else min(left, threading.TIMEOUT_MAX)):
            try:
                self._feeder = threading.get_ident()
                self._wanted = False
                while not self._ended and (self._all_at_once or self._open < self._ahead) and self._submit():
                    pass
            finally:
                self._feeder = 0
                self._feeding.release()
            if not self._wanted:
                break

    def _end(self) -> None:
        self._ended = True
        self._dispatcher.end_source(self)
        if self._progress is not None:
            self._progress.end()

    def submit_rest(self) -> None:
        """Submit what is left, or let the thread do it that is submitting: the pool closes when this has ended."""
        self._all_at_once = True
        try:
            self._feed()
        except BaseException:  # Ctrl-C: nobody will go on
            self.cancel()
            raise

    def leave_off(self) -> None:
        """Submit nothing more if it is this thread that is submitting, which cannot be waited for in here."""
        if self._feeder == threading.get_ident():
            self._cancelled = True
            self._end()

    def cancel(self) -> None:
        """Submit nothing more, and cancel what has not started."""
        self._cancelled = True
        self._end()
        with self._lock:
            waiting = list(self._waiting)
        for future in waiting:
            future.cancel()
        if self._progress is not None:
            self._progress.close()

    # Done

    def _on_done(self, future: TaskFuture) -> None:
        """Learn from a chunk, and submit more; in whatever thread resolved it."""
        if future._state == "FINISHED" and future._exception is None:
            seconds, count = future._result[:2]
            self._size = size_after(self._size, seconds, count)
        try:
            if not self._follows_reader:
                with self._lock:
                    self._open -= 1
                self._feed()
            if self._done is not None:
                self._done.put(future)
        finally:
            if self._progress is not None:
                finished = future._state == "FINISHED" and future._exception is None
                self._progress.finish(len(future._result[2]) if finished else 0)

    def _next_done(self, left: float | None) -> Future[Any] | None:
        """Return the next chunk to be read, done or not; None after the last."""
        if self._dispatcher.abandoned:  # in a forked child
            self._lock = threading.RLock()  # a thread that is not here may have held it
            raise self._dispatcher.forked_error()
        if not self._waiting:
            self._feed(left)
        with self._lock:
            if not self._waiting:
                if self._cancelled and self._items.left:
                    raise CancelledError  # the pool was shut down so
                if not self._ended:
                    raise TimeoutError
                return None
            if self._done is None:
                return self._waiting[0]
        done = self._done
        self._dispatcher.about_to_wait(lambda: not done.empty(), None if left is None else monotonic() + left)
        future = done.get(left)
        if future is None:
            raise self._dispatcher.forked_error()
        return future

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            if future in self._waiting:
                self._waiting.remove(future)  # in order, it is the first
            else:
                self._early.add(future)
            if self._follows_reader:
                self._open -= 1

    def results(self, deadline: float | None) -> Iterator[Any]:
        """Return an iterator over what the calls return; see `_read`."""
        values = self._read(deadline)
        if self._progress is not None:
            self._progress.close_with(values)
        return values

    def _read(self, deadline: float | None) -> Iterator[Any]:
        """Give what the calls return, one by one; the first exception ends it all.

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
                yield from values
                if failure is not None:
                    raise load_error(failure)
                del values
            if self._progress is not None:
                self._progress.join()
        except KeyboardInterrupt as error:
            if not isinstance(error.__cause__, RemoteTraceback):  # else it is a call's own
                self._stop()
            raise
        finally:
            self.cancel()
            if self._progress is not None:
                self._progress.close_soon()

    def _stop(self) -> None:
        """Cancel and interrupt what has not been read."""
        self.cancel()
        with self._lock:
            waiting = list(self._waiting)
        for future in waiting:
            if isinstance(future, TaskFuture):
                future.stop()
