"""The tasks that one interpreter submits: their futures, and the thread that resolves these.

A dispatcher puts tasks into a queue that workers take from; its collector, a thread, takes what comes back and does
what it says. There are two kinds: the one whose workers these are (`_owner`), and the one of a pool that was handed to
another interpreter (`_handed`).

Nothing here is lost or waits for ever: each future is resolved by its worker's reply, by cancellation before a worker
took the task, or when the collector ends, which it does last of all.
"""

import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor
from contextvars import Context
from itertools import count
from typing import Protocol

from owngil import _core, _wire
from owngil._arrivals import keep_contexts
from owngil._ending import known, live
from owngil._failure import load_error
from owngil._future import TaskFuture, seconds_left
from owngil._notebooks import Collector
from owngil._protocol import CALL, ERROR

__all__ = ["CLOSED", "BrokenPoolError", "Dispatcher", "Source"]


CLOSED = "cannot schedule new futures after shutdown: the workers are closed"


class BrokenPoolError(BrokenExecutor):
    """A worker could not start, or its initializer failed; the pool accepts no more tasks."""


class Source(Protocol):
    """Who submits tasks by and by."""

    context: Context  # in which it was made

    def submit_rest(self) -> None:
        """Submit what is left, at once or soon, and call Dispatcher.end_source(): the dispatcher is about to close."""

    def leave_off(self) -> None:
        """Submit nothing more if the calling thread was about to: it waits for the end now."""

    def cancel(self) -> None:
        """Submit nothing more."""


class Dispatcher(ABC):
    """Tasks submitted here to workers that share a queue.

    Parameters
    ----------
    tasks : _core.Queue
        What the workers take from.
    replies : _core.Queue
        What they answer to.
    inbox : _core.Queue
        Where what the collector deals with comes.
    """

    def __init__(self, tasks: _core.Queue, replies: _core.Queue, inbox: _core.Queue) -> None:
        self.tasks = tasks
        self.replies = replies
        self._inbox = inbox
        self._keeps_contexts = keep_contexts()
        # Guards what follows. Reentrant: a signal handler or a finalizer may come in at any point.
        self.lock = threading.RLock()
        self._pending: dict[int, TaskFuture] = {}
        self._sources: set[Source] = set()
        self._task_ids = count(1)
        self._collector: threading.Thread | None = None
        self.collector_ident = 0
        self._collecting = threading.Lock()  # held by the collector from its first act on
        self._ended = threading.Event()  # the collector's last act
        self.broken_error: type[BrokenPoolError] = BrokenPoolError
        self.broken: str | None = None  # why
        self._closing = False  # when all sources have ended
        self._closed = False
        self.abandoned = False
        self._stopped = False
        self.given_up = False  # nobody waits for the workers' end any more, though they were told to stop
        known.add(self)

    # Tasks

    @abstractmethod
    def submit(
        self,
        parts: _wire.Parts,
        on_done: Callable[[TaskFuture], None] | None = None,
        source: Source | None = None,
    ) -> TaskFuture:
        """Queue a call that `_wire.dumps_call` took apart.

        `on_done` is called with the future when it is resolved, in whatever thread does that; it must be quick. A
        source of this dispatcher's may submit until it has ended, even when the dispatcher is about to close.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in every task that is running."""

    @abstractmethod
    def interrupt_task(self, future: TaskFuture) -> None:
        """Raise KeyboardInterrupt in this task, which a worker has taken, and in no other."""

    def _enqueue(self, future: TaskFuture, parts: _wire.Parts) -> None:
        self._pending[future._task] = future
        try:
            future._message = self.tasks.put(CALL, future._task, parts)
        except _core.QueueClosed:  # by a signal handler, since it was looked at
            self.forget(future._task)
            raise RuntimeError(CLOSED) from None

    def forget(self, task: int) -> None:
        """Drop a task that is cancelled, or has its result."""
        self._pending.pop(task, None)

    @abstractmethod
    def about_to_wait(self) -> None:
        """Take note that a thread waits for any of the tasks, in another way than by their futures."""

    # The end

    def add_source(self, source: Source) -> None:
        """Let `source` submit until it has ended, unless the dispatcher is about to close already."""
        if not self._closing:
            self._sources.add(source)

    def end_source(self, source: Source) -> None:
        """Take note that `source` submits nothing more. May be called again."""
        self._sources.discard(source)

    @abstractmethod
    def close(self) -> None:
        """Take no more tasks; the collector ends when those in the queue are done. Never waits."""

    def join(self) -> None:
        """Wait until the workers have ended; after close()."""
        collector = self._collector
        if self.lock._is_owned():  # type: ignore[attr-defined]
            return  # in a signal handler, which came while this thread submits: the collector would wait for that
        if not self.abandoned and collector is not None and collector is not threading.current_thread():
            try:
                # Before 3.13, a Thread.join() that Ctrl-C interrupts takes the thread for ended from then on
                # (gh-90882).
                self._ended.wait()
                collector.join()
            except KeyboardInterrupt:
                self.given_up = self._stopped
                raise

    def stop(self) -> None:
        """Cancel what waits. Never waits."""
        self._stopped = True
        self._cancel_pending()

    def forked_error(self) -> BrokenPoolError:
        """Return what is raised instead of results when the workers are abandoned."""
        return self.broken_error(self.broken)

    def abandon(self) -> None:
        """Forget the workers: this process is a fork, which has none of their threads."""
        self.abandoned = True
        self._sources = set()
        self.lock = threading.RLock()  # another thread may have held it
        self.broken = "its workers belong to the process that forked this one; make new ones here"

    def _cancel_pending(self) -> None:
        for source in list(self._sources):
            source.cancel()
        for future in list(self._pending.values()):
            future.cancel()

    def _fail(self, futures: Iterable[TaskFuture], reason: str) -> None:
        """Fail tasks that nobody runs. Without the lock held: this runs the futures' callbacks."""
        for future in futures:
            self.forget(future._task)
            if not future.done():
                future.set_exception(self.broken_error(reason))

    # Replies

    def _start_collector(self, name: str) -> None:
        if self._collector is None:
            collector = Collector(self._collect, f"{name} collector")
            collector.start()
            self._collector = collector
            live.add(self)

    def _collect(self) -> None:
        # There are two if Ctrl-C, or a signal handler that submits, came in between the start of the first and the note
        # of it.
        if not self._collecting.acquire(blocking=False):
            return
        self.collector_ident = threading.get_ident()
        try:
            self.collect_until(self._done, None)
        finally:
            try:
                with self.lock:  # it may have ended at once, before it was noted
                    live.discard(self)
                self._finish()
            finally:
                self._ended.set()

    @abstractmethod
    def _done(self) -> bool:
        """Return whether no reply will come any more."""

    @abstractmethod
    def _finish(self) -> None:
        """Fail what is left, as no reply will come any more."""

    def collect_until(self, done: Callable[[], bool], deadline: float | None) -> None:
        """Do what replies say until `done`; in the collector. Raises TimeoutError."""
        inbox = self._inbox
        while not done():
            try:
                reply = inbox.get(seconds_left(deadline), True)
            except MemoryError:  # it is still there
                continue
            try:
                self.handle(*reply)
            except BaseException:  # a future's callback that raises SystemExit, for one: other tasks must go on
                sys.excepthook(*sys.exc_info())

    @abstractmethod
    def handle(self, kind: int, number: int, parts: _wire.Parts) -> None:
        """Do what a reply says."""

    def resolve(self, kind: int, task: int, parts: _wire.Parts) -> None:
        """Give a task's future what its worker has answered."""
        future = self._pending.pop(task, None)
        if future is None:
            self._relay(kind, task, parts)
            return
        failure: BaseException | None = None
        result = None
        try:
            if kind == ERROR:
                failure = load_error(_wire.loads(parts, self.replies))
            else:
                result = _wire.loads(parts, self.replies)
        except BaseException as error:
            error.add_note("owngil: the task ended, but what it sent back cannot be rebuilt at the caller")
            failure = error
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(result)

    @abstractmethod
    def _relay(self, kind: int, task: int, parts: _wire.Parts) -> None:
        """Deal with the answer to a task that is not pending here."""
