"""The futures of tasks, and how a thread that waits for one may get the answer without another thread's help."""

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
        """Give a task's future what its worker has answered."""

    def forget(self, task: int) -> None:
        """Drop a task that is cancelled, or has its result."""

    def interrupt_task(self, future: "TaskFuture") -> None:
        """Raise KeyboardInterrupt in this task, which a worker has taken, and in no other."""

    def forked_error(self) -> Exception:
        """Return what is raised instead of results when the workers are abandoned."""
        raise NotImplementedError

    def hand_over(self, done: Callable[[], bool] | None = None, deadline: float | None = None) -> None:
        """Let another thread collect if it is the collector that calls this, in a callback that is about to wait."""


collectors: dict[int, Submitter] = {}  # of the threads that collect, what they do that for


def about_to_wait(
    dispatcher: Submitter | None = None, done: Callable[[], bool] | None = None, deadline: float | None = None
) -> None:
    """See to it that somebody else collects answers, if this thread does: it waits next.

    That is until `done`, for a task of `dispatcher`, if it is known.
    """
    collects_for = collectors.get(threading.get_ident())
    if collects_for is not None:
        collects_for.hand_over(done if collects_for is dispatcher else None, deadline)


class _Waiters(list[Any]):
    """Those that `concurrent.futures.wait` and `as_completed` wait by for a future."""

    def append(self, waiter: Any) -> None:
        """Take note of one."""
        super().append(waiter)
        about_to_wait()


class TaskFuture(Future[Any]):
    """The future of a task that waits in a queue which belongs to no interpreter.

    Whether a worker has taken the task is decided there, so cancel() and running() ask the queue. The first thread that
    waits in result() may get the worker's answer directly, without the collector; who waits otherwise, does by the
    condition that all futures have. Most need none, and to make one costs more than all else here: it is made when
    something of concurrent.futures asks for it, and without one a result can be set without telling anybody.
    """

    # What Future.__init__() sets, and the state of most futures for most of the time.
    _state = "PENDING"
    _result: Any = None
    _exception: BaseException | None = None
    _waiters: Any = ()
    _done_callbacks: Any = ()
    _made_condition: threading.Condition | None = None
    _message: _core.Message | None = None
    _awaited = False
    context: Context | None = None  # in which it was submitted, if that matters
    _on_done: "Callable[[TaskFuture], None] | None" = None

    def __init__(self, dispatcher: Submitter, task: int, on_done: "Callable[[TaskFuture], None] | None" = None) -> None:
        self._dispatcher = dispatcher
        self._task = task
        if on_done is not None:
            self._on_done = on_done

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        if self._dispatcher.abandoned and self._state == "PENDING":  # in a forked child
            # A thread that is not here may have held it, or have wanted to be told.
            self._made_condition = threading.Condition()
            self._waiters = []
            self._done_callbacks = []
            self._exception = self._dispatcher.forked_error()
            self._state = "FINISHED"
        if self._made_condition is None:
            # Whatever comes in between, a thread or a signal handler: what is there first, stays.
            attributes = self.__dict__
            attributes.setdefault("_waiters", _Waiters() if self._state == "PENDING" else [])
            attributes.setdefault("_done_callbacks", [])
            return attributes.setdefault("_made_condition", threading.Condition())  # type: ignore[no-any-return]
        return self._made_condition

    def result(self, timeout: float | None = None) -> Any:
        """As Future.result. Ctrl-C while waiting, which ends the wait, stops the task as well."""
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
        """Do what is to be done when `error`, which may be the task's own, ends a wait for the task."""
        if self._state == "FINISHED":  # perhaps here, just before a signal's handler came in
            self._dispatcher.forget(self._task)
            self._tell()
        elif isinstance(error, KeyboardInterrupt):
            self.stop()

    def _await_answer(self, deadline: float | None) -> bool:
        """Wait for the worker's answer; return whether it is a result, and came here. Else it comes otherwise."""
        if self._state != "PENDING":
            return False
        self._about_to_wait(deadline)
        message = self._message
        self._awaited = True
        # Whoever sets the state looks at `_awaited` afterwards: one of the two sees the other.
        if self._state != "PENDING" or message is None:
            return False
        if not message.await_answer(self._dispatcher.replies, self, _wire.loads, seconds_left(deadline)):
            return False
        self._dispatcher.forget(self._task)
        self._tell()
        return True

    def _about_to_wait(self, deadline: float | None) -> None:
        if threading.get_ident() in collectors and (deadline is None or deadline > monotonic()):
            about_to_wait(self._dispatcher, self.done, deadline)

    @contextmanager
    def _released_at_least(self) -> Iterator[None]:
        """Let no exception of a signal handler's leave the condition locked.

        Condition.__enter__() is Python code: between it and the block, a handler may run, and then nobody would release
        the lock (bpo-29988).
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
        self._tell()

    def set_exception(self, exception: BaseException | None) -> None:
        """As Future.set_exception."""
        super().set_exception(exception)
        self._tell()

    def take_answer(self, kind: int, parts: _wire.Parts) -> None:
        """Resolve the future here, when there is no collector any more."""
        self._dispatcher.resolve(kind, self._task, parts)

    def has_answer(self) -> bool:
        """Return whether the worker has answered: then the future is resolved, or somebody is about to do that."""
        return self._message is not None and self._message.has_answer(self._dispatcher.replies)

    def _tell(self) -> None:
        """Tell those who need no condition that the future is resolved."""
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
            self._note_cancel()
        except BaseException:  # Ctrl-C: no worker will take the task any more, so nobody must wait for it
            if message.cancelled:
                self._note_cancel()
            raise
        return True

    def _note_cancel(self) -> None:
        """Do what is left to do when the queue has cancelled the task. May be called again."""
        super().cancel()
        self._dispatcher.forget(self._task)
        self._tell()
        self._notify_cancel()

    def _notify_cancel(self) -> None:
        if self._state == "CANCELLED":
            self.set_running_or_notify_cancel()

    def _invoke_callbacks(self) -> None:
        self._notify_cancel()  # a callback may wait for this one among others
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
