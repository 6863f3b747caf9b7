"""Submits the tasks of one interpreter to workers, and resolves their futures in a thread, the collector.

A dispatcher puts tasks into a queue that workers take from. Its collector takes their replies, and handles each. There
are two kinds of dispatchers: one has workers of its own (`owner`), the other submits to a pool that was handed to this
interpreter (`handover`).

The collector calls the callbacks of futures. When a callback is about to wait for another task, a second thread becomes
the collector, and the first one ends with its callback.

No future waits for ever: it is resolved by a worker's reply, by cancellation before a worker has taken the task, or by
the collector at its end.
"""

import _thread
import contextlib
import sys
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor
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
from owngil._wire.interrupts import is_interrupt
from owngil._wire.protocol import CALL, ERROR

__all__ = ["CLOSED", "BrokenPoolError", "Dispatcher", "Source"]


CLOSED = "cannot schedule new futures after shutdown: the workers are closed"


class BrokenPoolError(BrokenExecutor):
    """A worker could not start, or its initializer failed; the pool accepts no more tasks."""


def _join(threads: Sequence[threading.Thread]) -> None:
    """Wait for the end of threads that are about to end."""
    if sys.version_info < (3, 13):
        # Thread.join() is Python code here. A handler's exception in it marks a thread as ended that is not (gh-90882),
        # or leaves locked what the next join() waits for. So another thread waits, in which no handler runs.
        joined = _core.Event()

        def wait() -> None:
            for thread in threads:
                thread._wait_for_tstate_lock()  # join() would leave a record of the calling thread in `threading`
            joined.set()

        with contextlib.suppress(RuntimeError):  # there can be no further thread
            _thread.start_new_thread(wait, ())
            joined.wait()
            return
    for thread in threads:
        thread.join()


class Source(Protocol):
    """A producer of tasks, such as a map, which submits them one after the other."""

    context: Context  # of its maker

    def submit_rest(self) -> None:
        """Submit the rest now or soon, and then call Dispatcher.end_source(): the dispatcher is about to close."""

    def leave_off(self) -> None:
        """Submit nothing more if the calling thread is the one that submits: it will wait for the end now."""

    def cancel(self) -> None:
        """Submit nothing more."""


class Reader(Protocol):
    """A thread that waits for tasks in another way than by their futures."""

    def abandon(self) -> None:
        """End the wait: the thread will find out that this process is a fork."""


def _show_exception() -> None:
    """Show the exception that is being handled, as an uncaught one is."""
    with contextlib.suppress(BaseException):  # the hook may raise one, too
        sys.excepthook(*sys.exc_info())


class Dispatcher(ABC):
    """Tasks submitted here to workers that share a queue.

    Parameters
    ----------
    tasks : _core.Queue
        The workers take tasks from it.
    replies : _core.Queue
        The workers put their replies into it.
    inbox : _core.Queue
        The collector takes what it handles from it.
    """

    def __init__(self, tasks: _core.Queue, replies: _core.Queue, inbox: _core.Queue) -> None:
        self.tasks = tasks
        self.replies = replies
        self._inbox = inbox
        self._keeps_contexts = keep_contexts()
        # Guards the attributes below. Reentrant, because a signal handler or a finalizer may run at any point. It is
        # taken by `_core.locked` only.
        self.lock = threading.RLock()
        self._pending: dict[int, TaskFuture] = {}
        self._sources: set[Source] = set()
        self.readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._failed: deque[tuple[TaskFuture, str]] = deque()  # futures that are to fail, and why
        self._task_ids = count(1)
        self._is_collected = False  # a collector was started
        self._collector: threading.Thread | None = None
        self.collector_ident = 0
        self._collecting = threading.Lock()  # held by the collector while it lives
        self._relieved: list[threading.Thread] = []  # former collectors that are still in a callback
        self._collectors = _core.Counter(1)  # the number of collectors, former ones included, that have not ended
        self._ended = _core.Event()  # set by the last collector at its end
        self.broken_error: type[BrokenPoolError] = BrokenPoolError
        self.broken: str | None = None  # the reason
        self._closing = False  # the tasks' queue is to be closed when all sources have ended
        self._closed = False
        self.abandoned = False
        self._stopped = False
        self.given_up = False  # no thread waits for the workers' end any more, though they were told to stop
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

        The thread that resolves the future calls `on_done` with it, which must be quick. A source of this dispatcher
        may submit until it has ended, even when the dispatcher is about to close.
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
        except _core.QueueClosed:  # by a signal handler, since the caller's check
            raise RuntimeError(CLOSED) from None

    def _withdraw(self, future: TaskFuture) -> None:
        """Stop the task, because an exception keeps its submitter from getting the future."""
        self.forget(future._task)
        if future._message is not None:
            future.stop()

    def forget(self, task: int) -> None:
        """Drop a task that is cancelled, or has its result."""
        self._pending.pop(task, None)

    def about_to_wait(self, done: Callable[[], bool], deadline: float | None) -> None:
        """Prepare for a wait of the calling thread until `done`, for tasks, but not by their futures."""
        about_to_wait(self, done, deadline)

    # The end

    def add_source(self, source: Source) -> None:
        """Let `source` submit until it has ended, unless the dispatcher is about to close already."""
        if not self._closing:
            self._sources.add(source)

    def end_source(self, source: Source) -> None:
        """Record that `source` submits nothing more. May be called again."""
        self._sources.discard(source)

    @abstractmethod
    def close(self) -> None:
        """Take no more tasks; the collector ends when those in the queue are done. Never waits."""

    def join(self) -> None:
        """Wait until the workers have ended; after close()."""
        if self.lock._is_owned():  # type: ignore[attr-defined]
            return  # in a signal handler that interrupts submit(), for whose lock the collector may wait
        if threading.current_thread() in (self._collector, *self._relieved):
            return  # in a callback
        if not self.abandoned and (self._is_collected or self in live):
            try:
                try:
                    self._start_collector("late")  # if an interrupted submit() has not started one
                except RuntimeError:  # there can be no further thread
                    self._begin_collecting("late collector")
                self._ended.wait()
                _join([thread for thread in (self._collector, *self._relieved) if isinstance(thread, Collector)])
            except KeyboardInterrupt:
                self.given_up = self._stopped
                raise

    @property
    def state(self) -> str:
        """Return "open", "closed" or "broken"."""
        return "broken" if self.broken is not None else "closed" if self._closed or self.tasks.closed else "open"

    def stop(self) -> None:
        """Cancel the tasks that wait in the queue. Never blocks."""
        self._stopped = True
        self._cancel_pending()

    def forked_error(self) -> BrokenPoolError:
        """Return the exception to raise in place of results when the workers are abandoned."""
        return self.broken_error(self.broken)

    def abandon(self) -> None:
        """Forget the workers: this process is a fork, which has none of their threads."""
        self.abandoned = True
        self.collector_ident = 0  # this thread may be the collector: it is not any more
        collectors.clear()
        self._sources = set()
        self.lock = threading.RLock()  # another thread may have held it
        self.broken = "its workers belong to the process that forked this one; make new ones here"
        for reader in list(self.readers):
            reader.abandon()
        for future in list(self._pending.values()):
            if future._waiting:  # this thread may wait for it, and have forked in a signal handler
                future._look()

    def _cancel_pending(self) -> None:
        for source in list(self._sources):
            source.cancel()
        for future in list(self._pending.values()):
            future.cancel()

    def _fail(self, futures: Iterable[TaskFuture], reason: str) -> None:
        """Fail tasks that no worker runs. The caller must not hold the lock, because this runs callbacks of futures."""
        self._failed.extend((future, reason) for future in futures)
        self._resolve_failed()

    def _resolve_failed(self) -> None:
        """Resolve the futures that are to fail. If a callback waits in here, the next collector goes on with them."""
        while True:
            try:
                future, reason = self._failed.popleft()
            except IndexError:
                return
            self.forget(future._task)
            try:
                _core.resolve(future, None, self.broken_error(reason))
            except BaseException:  # as in _handle_replies
                _show_exception()

    # Replies

    def _start_collector(self, name: str) -> None:
        """Start the collector, unless it is there; with the lock held."""
        if not self._is_collected:
            live.add(self)  # before the start: if that is interrupted, join() makes sure of a collector
            # Thread.start() is Python code with locks, which an exception of a signal handler could leave locked. So
            # another thread calls it, in which no handler runs.
            _thread.start_new_thread(self._begin_collecting, (f"{name} collector",))
            self._is_collected = True

    def _begin_collecting(self, name: str) -> None:
        # Two collectors start if Ctrl-C, or a signal handler that submits, interrupts _start_collector() after the
        # start of the first and before the record of it. The lock lets one of them collect. It records itself: perhaps
        # there is no further submit() to do that.
        if not self._collecting.acquire(blocking=False):
            return
        self._is_collected = True
        self._collector = Collector(self._take_turn, name)
        try:
            self._collector.start()
        except RuntimeError:  # there can be no further thread
            self._collector = threading.current_thread()
            self._collector.name = name
            self._take_turn()

    def _take_turn(self) -> None:
        """Collect until no reply will come any more, or another thread has taken over."""
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
                self.collector_ident = 0  # the system may give another thread the same number
                collectors.pop(me, None)
            if self._collectors.add(-1) == 0 and not self.abandoned:
                _core.locked(self.lock, live.discard, self)  # after _start_collector() has recorded it
                self._ended.set()

    def hand_over(self, done: Callable[[], bool] | None = None, deadline: float | None = None) -> None:
        """Let another thread collect, if the calling thread is the collector and is about to wait, in a callback.

        If no thread can start, as on 3.12 when the program has ended, the calling one collects until `done`. Raises
        RuntimeError if `done` is not given, and TimeoutError after the deadline.
        """
        if threading.get_ident() != self.collector_ident:
            return
        self.collector_ident = 0
        collectors.pop(threading.get_ident(), None)
        former, relieved = self._collector, threading.current_thread()
        successor = Collector(self._take_turn, relieved.name)
        self._relieved = [thread for thread in self._relieved if thread.is_alive()] + [relieved]
        self._collector = successor
        self._collectors.add(1)
        try:
            successor.start()
        except BaseException as error:
            self._collectors.add(-1)
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
        """Fail the tasks that are left: no reply will come any more."""

    def _handle_replies(self, done: Callable[[], bool], deadline: float | None = None) -> bool:
        """Handle replies until `done`, and return True, or until another thread is the collector, and return False.

        Raises TimeoutError after the deadline.
        """
        inbox = self._inbox
        me = threading.get_ident()
        self._resolve_failed()
        while self.collector_ident == me:
            if done():
                return True
            try:
                reply = inbox.get(seconds_left(deadline), True)
            except MemoryError:  # the message is still in the queue
                continue
            try:
                self.handle(*reply)
            except BaseException:  # such as SystemExit of a callback: other tasks must go on
                _show_exception()
        return False

    @abstractmethod
    def handle(self, kind: int, number: int, parts: _wire.Parts) -> None:
        """Handle a reply."""

    def resolve(self, kind: int, task: int, parts: _wire.Parts) -> None:
        """Resolve a task's future with its worker's answer."""
        future = self._pending.get(task)
        if future is None:
            self._relay(kind, task, parts)
        else:
            _core.settle(future, self.rebuild, kind, parts, self.replies)

    def rebuild(self, kind: int, parts: _wire.Parts, replies: _core.Queue | None = None) -> "_core.Outcome":
        """Return the outcome that a worker's answer has. Raise only what does not come from the answer."""
        try:
            answer = _wire.loads(parts, replies)
            return (None, load_error(answer)) if kind == ERROR else (answer, None)
        except BaseException as error:
            # A thread that has little stack left, and waits for this, leaves the answer to the collector.
            if is_interrupt(error) or (isinstance(error, RecursionError) and replies is None):
                raise
            with contextlib.suppress(BaseException):  # a frozen exception takes no notes
                error.add_note("owngil: the task ended, but what it sent back cannot be rebuilt at the caller")
            return None, error

    @abstractmethod
    def _relay(self, kind: int, task: int, parts: _wire.Parts) -> None:
        """Handle the answer to a task that is not pending here."""
