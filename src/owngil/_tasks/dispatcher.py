"""The tasks that one interpreter submits: their futures, and the thread that resolves these.

A dispatcher puts tasks into a queue that workers take from; its collector, a thread, takes what comes back and does
what it says. There are two kinds: the one whose workers these are (`_owner`), and the one of a pool that was handed to
another interpreter (`_handed`).

The collector calls futures' callbacks. One that waits for another task lets a second thread collect meanwhile: from
then on that is the collector, and the first one ends with its callback.

Nothing here is lost or waits for ever: each future is resolved by its worker's reply, by cancellation before a worker
took the task, or when the collector ends, which it does last of all.
"""

import sys
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, InvalidStateError
from contextvars import Context
from itertools import count
from typing import Protocol

from owngil import _core, _wire
from owngil._caller.deadline import seconds_left
from owngil._caller.errors import load_error
from owngil._caller.notebooks import Collector
from owngil._caller.settings import keep_contexts
from owngil._tasks.exit import known, live
from owngil._tasks.future import TaskFuture, about_to_wait, collectors
from owngil._wire.protocol import CALL, ERROR

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


class Reader(Protocol):
    """Who hands tasks' futures to a thread that waits for them."""

    def abandon(self) -> None:
        """Let that thread wait no longer: it will see that this process is a fork."""


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
        self.readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._failed: deque[tuple[TaskFuture, str]] = deque()  # and why, until that is told
        self._task_ids = count(1)
        self._collector: threading.Thread | None = None
        self.collector_ident = 0
        self._collecting = threading.Lock()  # held by the collector from its first act on
        self._relieved: list[threading.Thread] = []  # collectors that are still in a callback
        self._collectors = 1  # that have not ended, those included
        self._turns = threading.RLock()  # guards that number, for moments
        self._ended = _core.Event()  # the last act of the last of them
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
    def lend(self) -> tuple[_core.Queue, _core.Queue, _core.Counter]:
        """Let another interpreter submit, with what this returns; see `handover`."""

    @abstractmethod
    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in every task that is running."""

    @abstractmethod
    def interrupt_task(self, future: TaskFuture) -> None:
        """Raise KeyboardInterrupt in this task, which a worker has taken, and in no other."""

    def _enqueue(self, future: TaskFuture, parts: _wire.Parts) -> None:
        self._pending[future._task] = future
        try:
            self.tasks.put(CALL, future._task, parts, None, future)
        except _core.QueueClosed:  # by a signal handler, since it was looked at
            self.forget(future._task)
            raise RuntimeError(CLOSED) from None

    def forget(self, task: int) -> None:
        """Drop a task that is cancelled, or has its result."""
        self._pending.pop(task, None)

    def about_to_wait(self, done: Callable[[], bool], deadline: float | None) -> None:
        """Take note that a thread waits until `done` for any of the tasks, in another way than by their futures."""
        about_to_wait(self, done, deadline)

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
        if self.lock._is_owned():  # type: ignore[attr-defined]
            return  # in a signal handler, which came while this thread submits: the collector would wait for that
        if threading.current_thread() in (self._collector, *self._relieved):
            return  # in a callback
        if not self.abandoned and self._collector is not None:
            try:
                # Before 3.13, a Thread.join() that Ctrl-C interrupts takes the thread for ended from then on
                # (gh-90882).
                self._ended.wait()
                for collector in (self._collector, *self._relieved):
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
        self.collector_ident = 0  # who collected, if it is this thread, collects no more
        collectors.clear()
        self._sources = set()
        self.lock = threading.RLock()  # another thread may have held it
        self.broken = "its workers belong to the process that forked this one; make new ones here"
        for reader in list(self.readers):
            reader.abandon()

    def _cancel_pending(self) -> None:
        for source in list(self._sources):
            source.cancel()
        for future in list(self._pending.values()):
            future.cancel()

    def _fail(self, futures: Iterable[TaskFuture], reason: str) -> None:
        """Fail tasks that nobody runs. Without the lock held: this runs the futures' callbacks."""
        self._failed.extend((future, reason) for future in futures)
        self._tell_failed()

    def _tell_failed(self) -> None:
        """Resolve the futures that are to fail. If a callback waits in here, whoever takes over goes on with them."""
        while True:
            try:
                future, reason = self._failed.popleft()
            except IndexError:
                return
            self.forget(future._task)
            try:
                if not future.done():
                    future.set_exception(self.broken_error(reason))
            except InvalidStateError:  # another thread was quicker
                pass
            except BaseException:  # as in _handle_replies
                sys.excepthook(*sys.exc_info())

    # Replies

    def _start_collector(self, name: str) -> None:
        if self._collector is None:
            collector = Collector(self._collect, f"{name} collector")
            collector.start()
            self._collector = collector
            live.add(self)

    def _collect(self) -> None:
        # There are two if Ctrl-C, or a signal handler that submits, came in between the start of the first and the note
        # of it. Hence it notes itself, too: perhaps nobody submits again.
        if self._collecting.acquire(blocking=False):
            self._collector = threading.current_thread()
            live.add(self)
            self._take_turn()

    def _take_turn(self) -> None:
        """Be the collector, until no reply will come any more or another thread has taken over."""
        me = self.collector_ident = threading.get_ident()
        collectors[me] = self
        is_relieved = False
        try:
            try:
                is_relieved = not self._handle_replies(self._done)
            finally:
                if not is_relieved:
                    self._finish()
        finally:
            if self.collector_ident == me:
                self.collector_ident = 0  # another thread may have the same one next
                collectors.pop(me, None)
            with self._turns:
                self._collectors -= 1
                is_last = self._collectors == 0
            if is_last and not self.abandoned:
                with self.lock:  # it may have ended at once, before it was noted
                    live.discard(self)
                self._ended.set()

    def hand_over(self, done: Callable[[], bool] | None = None, deadline: float | None = None) -> None:
        """Let another thread collect if it is the collector that calls this, in a callback that is about to wait.

        If none can be had, as on 3.12 when the program has ended, this one collects until `done`, if that is given.
        Raises RuntimeError else, and TimeoutError.
        """
        if threading.get_ident() != self.collector_ident:
            return
        self.collector_ident = 0
        collectors.pop(threading.get_ident(), None)
        former, relieved = self._collector, threading.current_thread()
        successor = Collector(self._take_turn, relieved.name)
        self._relieved = [thread for thread in self._relieved if thread.is_alive()] + [relieved]
        self._collector = successor
        with self._turns:
            self._collectors += 1
        try:
            successor.start()
        except BaseException as error:
            with self._turns:
                self._collectors -= 1
            self._relieved.remove(relieved)
            self._collector = former
            self.collector_ident = threading.get_ident()
            collectors[self.collector_ident] = self
            if done is None or not isinstance(error, RuntimeError):
                raise
        else:
            return
        self._handle_replies(done, deadline)

    @abstractmethod
    def _done(self) -> bool:
        """Return whether no reply will come any more."""

    @abstractmethod
    def _finish(self) -> None:
        """Fail what is left, as no reply will come any more."""

    def _handle_replies(self, done: Callable[[], bool], deadline: float | None = None) -> bool:
        """Do what replies say until `done`: True; or until this is not the collector any more. Raises TimeoutError."""
        inbox = self._inbox
        me = threading.get_ident()
        self._tell_failed()
        while self.collector_ident == me:
            if done():
                return True
            try:
                reply = inbox.get(seconds_left(deadline), True)
            except MemoryError:  # it is still there
                continue
            try:
                self.handle(*reply)
            except BaseException:  # a future's callback that raises SystemExit, for one: other tasks must go on
                sys.excepthook(*sys.exc_info())
        return False

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
