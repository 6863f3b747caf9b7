"""Futures of tasks. A thread that waits for one can take the worker's answer itself, without the collector."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context
from time import monotonic
from typing import Any, Protocol

from owngil import _core, _wire
from owngil._caller.deadline import seconds_left

__all__ = ["Submitter", "TaskFuture", "about_to_wait", "collectors"]


class Submitter(Protocol):
    """What a future needs of the dispatcher that has submitted its task."""

    replies: _core.Queue
    abandoned: bool

    def resolve(self, kind: int, task: int, parts: _wire.Parts) -> None:
        """Resolve a task's future with its worker's answer."""

    def forget(self, task: int) -> None:
        """Drop a task that is cancelled, or has its result."""

    def interrupt_task(self, future: "TaskFuture") -> None:
        """Raise KeyboardInterrupt in this task, which a worker has taken, and in no other."""

    def forked_error(self) -> Exception:
        """Return the exception to raise in place of results when the workers are abandoned."""
        raise NotImplementedError

    def hand_over(self, done: Callable[[], bool] | None = None, deadline: float | None = None) -> None:
        """Let another thread collect, if the calling thread is the collector and is about to wait, in a callback."""


collectors: dict[int, Submitter] = {}  # by the idents of threads that collect: the dispatcher that they collect for


def about_to_wait(
    dispatcher: Submitter | None = None, done: Callable[[], bool] | None = None, deadline: float | None = None
) -> None:
    """Let another thread collect if the calling thread is a collector, because it is about to wait.

    It waits until `done`, for a task of `dispatcher`, if these are given.
    """
    collects_for = collectors.get(threading.get_ident())
    if collects_for is not None:
        collects_for.hand_over(done if collects_for is dispatcher else None, deadline)


class _Waiters(list[Any]):
    """The waiters of a future, by which `concurrent.futures.wait` and `as_completed` wait."""

    def append(self, waiter: Any) -> None:
        """Add a waiter: the calling thread is about to wait."""
        super().append(waiter)
        about_to_wait()


class TaskFuture(Future[Any]):
    """The future of a task in a queue that belongs to no interpreter.

    The queue decides whether a worker has taken the task, so cancel() and running() ask it. The first thread that waits
    in result() takes the worker's answer from the queue itself. Other waits are by the condition that every future of
    concurrent.futures has. Most futures need no condition, and making one takes longer than everything else here. So it
    is made when code of concurrent.futures asks for it; as long as there is none, a result is set without notifying.
    """

    # The attributes that Future.__init__() sets. Class attributes, because most futures never change most of them.
    _state = "PENDING"
    _result: Any = None
    _exception: BaseException | None = None
    _waiters: Any = ()
    _done_callbacks: Any = ()
    _made_condition: threading.Condition | None = None
    _message: _core.Message | None = None
    _awaited = False
    context: Context | None = None  # of the submission, if warnings need it
    _on_done: "Callable[[TaskFuture], None] | None" = None

    def __init__(self, dispatcher: Submitter, task: int, on_done: "Callable[[TaskFuture], None] | None" = None) -> None:
        self._dispatcher = dispatcher
        self._task = task
        if on_done is not None:
            self._on_done = on_done

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        if self._dispatcher.abandoned and self._state == "PENDING":  # in a forked child
            # A thread that does not exist in this process may have held the condition, or waited for it.
            self._made_condition = threading.Condition()
            self._waiters = []
            self._done_callbacks = []
            self._exception = self._dispatcher.forked_error()
            self._state = "FINISHED"
        if self._made_condition is None:
            # Another thread or a signal handler may do this at the same time: setdefault() lets the first win.
            attributes = self.__dict__
            attributes.setdefault("_waiters", _Waiters() if self._state == "PENDING" else [])
            attributes.setdefault("_done_callbacks", [])
            return attributes.setdefault("_made_condition", threading.Condition())  # type: ignore[no-any-return]
        return self._made_condition

    def result(self, timeout: float | None = None) -> Any:
        """As Future.result. Ctrl-C ends the wait, and stops the task as well."""
        if self._state == "FINISHED" and self._exception is None:
            return self._result
        deadline = None if timeout is None else monotonic() + timeout
        try:
            if self._await_answer(deadline):
                return self._result
            with self._released_at_least():
                return super().result(seconds_left(deadline))
        except BaseException as error:
            self._leave_wait(error)
            raise

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As Future.exception; Ctrl-C as in `result`."""
        deadline = None if timeout is None else monotonic() + timeout
        try:
            if self._await_answer(deadline):
                return None
            with self._released_at_least():
                return super().exception(seconds_left(deadline))
        except BaseException as error:
            self._leave_wait(error)
            raise

    def _leave_wait(self, error: BaseException) -> None:
        """Clean up when `error`, which may be the task's own, ends a wait for the task."""
        if self._state == "FINISHED":  # perhaps by this thread, just before a signal handler raised `error`
            self._dispatcher.forget(self._task)
            self._on_resolved()
        elif isinstance(error, KeyboardInterrupt):
            self.stop()

    def _await_answer(self, deadline: float | None) -> bool:
        """Wait for the worker's answer in the queue. Return whether this thread has taken it, and it is a result."""
        if self._state != "PENDING":
            return False
        self._about_to_wait(deadline)
        message = self._message
        self._awaited = True
        # A thread that resolves the future sets the state, and then checks `_awaited`. Here the order is the other way
        # round, so that at least one of the two threads sees the other.
        if self._state != "PENDING" or message is None:
            return False
        if not message.await_answer(self._dispatcher.replies, self, _wire.loads, seconds_left(deadline)):
            return False
        self._dispatcher.forget(self._task)
        self._on_resolved()
        return True

    def _about_to_wait(self, deadline: float | None) -> None:
        if threading.get_ident() in collectors and (deadline is None or deadline > monotonic()):
            about_to_wait(self._dispatcher, self.done, deadline)

    @contextmanager
    def _released_at_least(self) -> Iterator[None]:
        """Release the condition if an exception of a signal handler has left it locked.

        Condition.__enter__() is Python code. If a handler raises an exception between it and the block, the lock is not
        released (bpo-29988).
        """
        made = self._made_condition
        is_outer = made is None or not made._is_owned()  # type: ignore[attr-defined]
        try:
            yield
        except BaseException:
            made = self._made_condition
            while is_outer and made is not None and made._is_owned():  # type: ignore[attr-defined]
                made.release()
            raise

    def stop(self) -> None:
        """Cancel the task, or interrupt it if a worker has it; do nothing if it is done."""
        if not self.done() and not self.cancel():
            self._dispatcher.interrupt_task(self)

    def set_result(self, result: Any) -> None:
        """As Future.set_result."""
        if not _core.set_quietly(self, result):
            super().set_result(result)
        self._on_resolved()

    def set_exception(self, exception: BaseException | None) -> None:
        """As Future.set_exception."""
        super().set_exception(exception)
        self._on_resolved()

    def take_answer(self, kind: int, parts: _wire.Parts) -> None:
        """Resolve the future in this thread, because there is no collector any more. The core calls this."""
        self._dispatcher.resolve(kind, self._task, parts)

    def has_answer(self) -> bool:
        """Return whether the worker has answered: then the future is resolved, or a thread is about to do that."""
        return self._message is not None and self._message.has_answer(self._dispatcher.replies)

    def _on_resolved(self) -> None:
        """Wake the thread that waits in the queue, and call `on_done`: the future is resolved."""
        if self._awaited and self._message is not None:
            self._message.stop_waiting(self._dispatcher.replies)
        on_done = self._on_done
        if on_done is not None:
            self._on_done = None
            on_done(self)

    def cancel(self) -> bool:
        """Cancel the task if no worker has taken it, and return whether it is cancelled."""
        message = self._message
        if message is None or self._dispatcher.abandoned:
            return self.cancelled()
        try:
            if not message.cancel():
                return self.cancelled()
            self._finish_cancel()
        except BaseException:  # Ctrl-C: no worker will take the task any more, so no thread must wait for it
            if message.cancelled:
                self._finish_cancel()
            raise
        return True

    def _finish_cancel(self) -> None:
        """Cancel the future, after the queue has cancelled the task. May be called again."""
        super().cancel()
        self._dispatcher.forget(self._task)
        self._on_resolved()
        self._notify_cancel()

    def _notify_cancel(self) -> None:
        if self._state == "CANCELLED":
            self.set_running_or_notify_cancel()

    def _invoke_callbacks(self) -> None:
        self._notify_cancel()  # before callbacks: one may wait for this future, with others
        super()._invoke_callbacks()  # type: ignore[misc]

    def running(self) -> bool:
        """Return whether a worker has taken the task and not finished it."""
        message = self._message
        return message is not None and message.taken and not self.done()

    def __repr__(self) -> str:
        if self._state == "PENDING" and self.running():
            return f"<{type(self).__name__} at {id(self):#x} state=running>"
        return super().__repr__()

    def __reduce__(self) -> Any:
        raise TypeError("a future stays where it was made; pass its result, or a Channel")
