"""The dispatcher of a pool that was handed to this interpreter. The owner's side is `clients`.

When a worker's own thread waits for a task in `result`, and no worker has taken the task, the thread runs it in place;
the queue decides which of them has it. So waits lead only from a task to tasks that it has submitted, and never in a
circle. All other waits are reported to the dispatcher of the worker that waits, which may start another worker.
"""

import contextlib
import threading
import weakref
from collections.abc import Callable
from itertools import count
from typing import Any

from owngil import _core, _wire
from owngil._tasks.clients import CLIENT_BITS
from owngil._tasks.dispatcher import CLOSED, Dispatcher, Source
from owngil._tasks.future import TaskFuture
from owngil._wire.globals import close_opened, publish_assigned
from owngil._wire.protocol import (
    BLOCKED,
    BROKEN,
    CALL,
    CANCEL,
    ENDED,
    ERROR,
    INTERRUPT,
    JOIN,
    LEAVE,
    NEED,
    RESULT,
    UNBLOCKED,
    WAKE,
)
from owngil._worker import reports
from owngil._worker.errors import describe_error

__all__ = ["HandedDispatcher", "HandedFuture", "dispatcher_of"]

_DEEPEST = 32  # how many tasks may run in place, one within another, because each takes some of the stack
_depth = 0


class _Blocked:
    """The futures that threads of this interpreter wait for, or may wait for."""

    def __init__(self) -> None:
        self._futures: set[HandedFuture] = set()
        self._is_told = False  # the dispatcher of this worker knows that the worker is blocked
        self._lock = threading.RLock()
        self._is_worker = not _core.in_main_interpreter()

    def add(self, future: "HandedFuture") -> None:
        if not self._is_worker:
            return
        _core.locked(self._lock, self._change, self._futures.add, future)
        if future._status != "PENDING":  # resolved meanwhile, perhaps before it was added
            self.discard(future)

    def discard(self, future: "HandedFuture") -> None:
        """Forget a future. If an interrupt ends this, call it again."""
        if self._is_worker:
            _core.locked(self._lock, self._change, self._futures.discard, future)

    def _change(self, change: "Callable[[HandedFuture], None]", future: "HandedFuture") -> None:
        change(future)
        if self._is_told != bool(self._futures):
            reports.send(BLOCKED if self._futures else UNBLOCKED, ())
            self._is_told = bool(self._futures)


_blocked = _Blocked()


def _as_received(parts: _wire.Parts, *, writable: bool) -> _wire.Parts:
    """Return the parts as a receiver would get them."""
    queue = _core.Queue()
    queue.put(CALL, 0, parts)
    return queue.get(0, writable)[2]


def _run(parts: _wire.Parts) -> tuple[int, _wire.Parts]:
    """Run a task in this thread; return the answer that a worker would send."""
    outer = publish_assigned()
    try:
        fn, args, kwargs = _wire.loads_call(_as_received(parts, writable=False))
        return RESULT, _wire.dumps_result(fn(*args, **kwargs), fn)
    except BaseException as error:
        failure = describe_error(error, threading.current_thread().name)
        return ERROR, _wire.dumps(failure, "an exception cannot be sent back")
    finally:
        close_opened(outer)


class HandedFuture(TaskFuture):
    """The future of a task that was submitted to a pool of another interpreter."""

    _dispatcher: "HandedDispatcher"
    _parts: _wire.Parts | None  # of the call, until the future is resolved
    _helper = 0  # the thread that runs the task in place, has done so, or tries to

    def _look(self) -> None:
        super()._look()
        # A thread that looks is about to wait, or looks again and again.
        if self._status == "PENDING":
            _blocked.add(self)

    def _prepare_wait(self, timeout: float | None) -> None:
        if self._status == "PENDING" and timeout is None and self._dispatcher.in_own_worker():
            try:
                self._run_here()
            except KeyboardInterrupt:  # as in TaskFuture.result
                self.stop()
                raise

    def _run_here(self) -> None:
        """Run the task in this thread, unless another thread or a worker does."""
        global _depth
        message, parts = self._message, self._parts
        me = threading.get_ident()
        if message is None or parts is None or _depth >= _DEEPEST or message.cancelled:
            return
        if self.__dict__.setdefault("_helper", me) != me:
            return
        _depth += 1
        try:
            message.settle(self, self._run, parts)
        finally:
            _depth -= 1

    def _run(self, parts: _wire.Parts) -> "_core.Outcome":
        kind, answer = _run(parts)
        return self._dispatcher.rebuild(kind, _as_received(answer, writable=True))

    def result(self, timeout: float | None = None) -> Any:
        """As Future.result."""
        self._prepare_wait(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As Future.exception."""
        self._prepare_wait(timeout)
        return super().exception(timeout)

    def _on_resolved(self) -> None:
        self._parts = None
        _blocked.discard(self)
        super()._on_resolved()


class HandedDispatcher(Dispatcher):
    """A client of a pool of another interpreter: submits tasks to the workers there."""

    def __init__(self, tasks: _core.Queue, replies: _core.Queue, numbers: _core.Counter, max_workers: int) -> None:
        super().__init__(tasks, replies, _core.Queue())
        self.numbers = numbers
        self.max_workers = max_workers
        self._client = numbers.add(1)
        self._task_ids = count((self._client << CLIENT_BITS) + 1)
        self._over = False

    def in_own_worker(self) -> bool:
        """Return whether this thread is the own one of a worker of the pool."""
        return _core.in_worker() and reports.go_to(self.replies)

    def _tell_owner(self, kind: int, number: int, parts: _wire.Parts = ()) -> None:
        with contextlib.suppress(_core.QueueClosed):  # then the inbox has a message about that
            self.replies.put(kind, number, parts)

    def submit(
        self,
        parts: _wire.Parts,
        on_done: Callable[[TaskFuture], None] | None = None,
        source: Source | None = None,
    ) -> TaskFuture:
        """As Dispatcher.submit."""
        return _core.locked(self.lock, self._submit, parts, on_done)

    def _submit(self, parts: _wire.Parts, on_done: Callable[[TaskFuture], None] | None) -> TaskFuture:
        if self.broken is not None:
            raise self.broken_error(self.broken)
        if self._closed or self._over or self.tasks.closed:
            raise RuntimeError(CLOSED)
        if not self._is_collected:
            try:
                self.replies.put(JOIN, self._client, (self._inbox,))
            except _core.QueueClosed:
                raise RuntimeError(CLOSED) from None
            self._start_collector(f"client {self._client}")
        future = HandedFuture(self, next(self._task_ids), on_done)
        future._parts = parts
        try:
            self._enqueue(future, parts)
            if len(self.tasks) > 0:
                self._tell_owner(NEED, 0)
        except BaseException:  # the caller will not get the future
            self._withdraw(future)
            raise
        return future

    def about_to_wait(self, done: Callable[[], bool], deadline: float | None) -> None:
        """As Dispatcher.about_to_wait."""
        super().about_to_wait(done, deadline)
        for future in list(self._pending.values()):
            _blocked.add(future)  # type: ignore[arg-type]

    def lend(self) -> tuple[_core.Queue, _core.Queue, _core.Counter]:
        """As Dispatcher.lend. The pool still belongs to its owner."""
        return self.tasks, self.replies, self.numbers

    def interrupt(self) -> None:
        """As Dispatcher.interrupt."""
        self._tell_owner(INTERRUPT, 0)

    def interrupt_task(self, future: TaskFuture) -> None:
        """As Dispatcher.interrupt_task."""
        if future._message is not None:
            future._message.refuse()
        self._tell_owner(INTERRUPT, future._task)

    def close(self) -> None:
        """Leave, because this interpreter ends. The tasks that were submitted run all the same."""
        if self.abandoned:
            return
        self._closed = self._over = True
        for source in list(self._sources):
            source.cancel()
        with contextlib.suppress(_core.QueueClosed):
            self._inbox.put(WAKE, 0, ())

    def handle(self, kind: int, number: int, parts: _wire.Parts) -> None:
        if kind in (RESULT, ERROR):
            self.resolve(kind, number, parts)
        elif kind == BROKEN:
            self.broken = b"".join(parts).decode()  # type: ignore[arg-type]
            waiting = list(self._pending.values())
            self._fail([f for f in waiting if f._message is not None and f._message.cancel()], self.broken)
        elif kind == CANCEL:
            self._cancel_pending()
        elif kind == ENDED:
            self._over = True

    def _relay(self, kind: int, task: int, parts: _wire.Parts) -> None:
        pass  # the task has run in place meanwhile

    def _done(self) -> bool:
        return self._over

    def _finish(self) -> None:
        self._tell_owner(LEAVE, self._client)
        self._inbox.close()
        waiting = list(self._pending.values())
        if not self._closed:  # the owner's workers have ended, and will take no more tasks
            waiting = [f for f in waiting if f._message is None or f._message.cancel() or not f.has_answer()]
        reason = "the pool was closed, or the interpreter that submitted the task ended, before it was done"
        self._fail(waiting, self.broken or reason)


# By the pool's queue of tasks: all Python objects of one queue are equal.
_dispatchers: "weakref.WeakValueDictionary[_core.Queue, HandedDispatcher]" = weakref.WeakValueDictionary()


def dispatcher_of(
    tasks: _core.Queue, replies: _core.Queue, numbers: _core.Counter, max_workers: int
) -> HandedDispatcher:
    """Return this interpreter's dispatcher of a pool that was handed to it."""
    dispatcher = _dispatchers.get(tasks)
    if dispatcher is None:  # two threads at once may each make one
        dispatcher = _dispatchers[tasks] = HandedDispatcher(tasks, replies, numbers, max_workers)
    return dispatcher
