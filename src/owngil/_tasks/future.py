"""Futures of tasks. A thread that waits for one can take the worker's answer itself, without the collector.

A future has no lock, which an exception of a signal handler could leave locked. The core resolves it in one step
(`_core.resolve`). A thread that waits enters a list and then looks whether the future is resolved; the thread that
resolves it does so in the other order. So at least one of them sees the other.

CPython looks for signals and interrupts, and gives the GIL to other threads, only at the start of a function, after a
call, and before a loop begins again. Some lines below rely on that, and say so.
"""

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures._base import LOGGER
from contextvars import Context
from time import monotonic
from typing import Any, Protocol

from owngil import _core, _wire
from owngil._caller.deadline import seconds_left
from owngil._wire.interrupts import is_interrupt

__all__ = ["Submitter", "TaskFuture", "about_to_wait", "collectors"]


class Submitter(Protocol):
    """What a future needs of the dispatcher that has submitted its task."""

    replies: _core.Queue
    abandoned: bool

    def rebuild(self, kind: int, parts: _wire.Parts) -> "_core.Outcome":
        """Return the outcome that a worker's answer has. Raise only what does not come from the answer."""
        raise NotImplementedError

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


class _WaiterEvent:
    """The event of a waiter of `concurrent.futures`, in place of a threading.Event.

    That event and the waiter's lock are Python code. An exception of a signal handler could leave them locked, and the
    thread that resolves the future would wait for ever. With this event the waiter needs no lock.
    """

    __slots__ = ("_clear", "_waiter", "is_set", "set", "wait")

    def __init__(self, waiter: Any) -> None:
        event = _core.Event()
        self.set, self.wait, self.is_set, self._clear = event.set, event.wait, event.is_set, event.clear
        self._waiter = weakref.ref(waiter)

    def clear(self) -> None:
        """Unset the event, unless futures were added since the waiting thread has looked."""
        self._clear()
        waiter = self._waiter()
        if waiter is not None and waiter.finished_futures:
            self.set()


class _NoLock:
    """A lock that locks nothing."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Return True."""
        return True

    def release(self) -> None:
        """Do nothing."""

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *error: object) -> None:
        pass


class _Waiter:
    """A thread that waits for one future, with the attributes of a waiter of `concurrent.futures`."""

    def __init__(self) -> None:
        self.event = _core.Event()
        self.finished_futures: list[Any] = []
        self.num_pending_calls = 0
        self.stop_on_exception = False


class _Waiters:
    """The `_waiters` of a future, by which `concurrent.futures.wait` and `as_completed` wait."""

    __slots__ = ("_future",)

    def __init__(self, future: "TaskFuture") -> None:
        self._future = future

    def append(self, waiter: Any) -> None:
        """Add a waiter: the calling thread is about to wait. It has looked at the state before."""
        if type(waiter.event) is not _WaiterEvent:
            waiter.event = _WaiterEvent(waiter)
            waiter.lock = _NoLock()
            vars(waiter).setdefault("num_pending_calls", 0)  # set the event whenever a future is done
            vars(waiter).setdefault("stop_on_exception", False)
        if self._future._state not in _DONE:
            self._future._add_waiter(waiter)
        about_to_wait()

    def remove(self, waiter: Any) -> None:
        """Remove a waiter, unless it was told already."""
        waiting: Any = self._future._waiting
        if waiter in waiting:  # no other thread can run between this and the next line
            waiting.remove(waiter)


class _Condition(_NoLock):
    """The `_condition` of a future for code of `concurrent.futures`, which looks at the state with it held.

    It locks nothing. For the thread that holds it, the state does not change.
    """

    def __init__(self, future: "TaskFuture") -> None:
        self._future = future

    def _states(self) -> list[str]:
        held: dict[int, list[str]] = self._future.__dict__.setdefault("_held", {})
        return held.setdefault(threading.get_ident(), [])

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Keep the state for this thread."""
        self._future._look()
        self._states().append(self._future._status)
        return True

    def release(self) -> None:
        """Let this thread see changes of the state."""
        del self._states()[-1:]

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the future is resolved, and return whether it is."""
        waiter = _Waiter()
        self._future._add_waiter(waiter)
        about_to_wait()
        try:
            return waiter.event.wait(timeout)
        finally:
            self._future._waiters.remove(waiter)

    def notify_all(self) -> None:
        """Do nothing: who resolves the future wakes all."""


_DONE = ("CANCELLED_AND_NOTIFIED", "FINISHED", "CANCELLED")


class TaskFuture(Future[Any]):
    """The future of a task in a queue that belongs to no interpreter.

    The queue decides whether a worker has taken the task, so cancel() and running() ask it. The first thread that waits
    in result() takes the worker's answer from the queue itself. Other threads are waiters, as those that wait by
    concurrent.futures are.
    """

    # Class attributes, because most futures never change most of them. Lists are made when they are needed.
    _status = "PENDING"  # the state, which only the core changes
    _result: Any = None
    _exception: BaseException | None = None
    _waiting: Any = ()  # waiters
    _done_callbacks: Any = ()
    _held: dict[int, list[str]] | None = None  # by thread: the states that its `_condition` keeps for it
    _message: _core.Message | None = None
    _awaited = False
    _is_counted = False  # as done, by the map that it is a chunk of
    _is_listed = False  # as done, for the reader of that map
    context: Context | None = None  # of the submission, if warnings need it
    _on_done: "Callable[[TaskFuture], None] | None" = None

    def __init__(self, dispatcher: Submitter, task: int, on_done: "Callable[[TaskFuture], None] | None" = None) -> None:
        self._dispatcher = dispatcher
        self._task = task
        if on_done is not None:
            self._on_done = on_done

    # What code of concurrent.futures uses

    @property
    def _condition(self) -> Any:  # type: ignore[override]
        return _Condition(self)

    @property
    def _waiters(self) -> Any:  # type: ignore[override]
        return _Waiters(self)

    @property
    def _state(self) -> str:  # type: ignore[override]
        if self._held is not None:
            states = self._held.get(threading.get_ident())
            if states:
                return states[-1]
        return self._status

    @_state.setter
    def _state(self, state: str) -> None:
        self._status = state

    # Waiting

    def _look(self) -> None:
        """Prepare for a look at the state: in a forked child, no worker will answer."""
        if self._dispatcher.abandoned and self._status == "PENDING":
            self._done_callbacks = []
            self._on_done = None
            self._awaited = False
            _core.resolve(self, None, self._dispatcher.forked_error())

    def _add_waiter(self, waiter: Any) -> None:
        """Let the waiter know when the future is resolved, which may be the case already."""
        self.__dict__.setdefault("_waiting", []).append(waiter)
        if self._status in _DONE:
            self._tell_waiters()

    def _tell_waiters(self) -> None:
        """Tell each waiter once. Several threads may do this at the same time."""
        waiting = self._waiting
        failed = self._exception is not None
        while waiting:
            # Between these lines no other thread can run, and no signal handler: the first call is that of set().
            waiter = waiting[-1]
            del waiting[-1]
            waiter.num_pending_calls -= 1
            waiter.finished_futures += [self]
            if waiter.num_pending_calls <= 0 or (failed and waiter.stop_on_exception):
                waiter.event.set()

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """As Future.add_done_callback."""
        self._look()
        if self._status in _DONE:
            self._call([fn])
            return
        callbacks: list[Callable[[Future[Any]], object]] = self.__dict__.setdefault("_done_callbacks", [])
        callbacks.append(fn)
        if self._status in _DONE:
            self._call(callbacks)

    def _call(self, callbacks: list[Callable[[Future[Any]], object]]) -> None:
        """Call each callback once, and remove it. Several threads may do this at the same time."""
        while callbacks:
            # No other thread and no signal handler can run between these lines.
            callback = callbacks[0]
            del callbacks[0]
            try:
                callback(self)
            except Exception as error:
                if is_interrupt(error):
                    raise
                LOGGER.exception("exception calling callback for %r", self)

    def result(self, timeout: float | None = None) -> Any:
        """As Future.result. Ctrl-C ends the wait, and stops the task as well."""
        if self._status == "FINISHED" and self._exception is None:
            return self._result
        self._wait(timeout)
        try:
            if self._exception is not None:
                raise self._exception
            return self._result
        finally:
            del self  # the traceback of the exception, which it holds, holds this frame

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As Future.exception; Ctrl-C as in `result`."""
        self._wait(timeout)
        return self._exception

    def _wait(self, timeout: float | None) -> None:
        """Wait until the future is resolved. Raise CancelledError if it is cancelled."""
        try:
            self._look()
            if self._status not in _DONE:
                self._await(None if timeout is None else monotonic() + timeout)
        except KeyboardInterrupt as interrupt:
            if self._status not in _DONE:
                try:
                    self.stop()
                except RuntimeError as error:  # the task cannot be interrupted
                    interrupt.add_note(f"owngil: {error}")
            raise
        if self._status != "FINISHED":
            raise CancelledError

    def _await(self, deadline: float | None) -> None:
        """Wait for the worker's answer in the queue, or for another thread to resolve the future."""
        if threading.get_ident() in collectors and (deadline is None or deadline > monotonic()):
            about_to_wait(self._dispatcher, self.done, deadline)
        message = self._message
        self._awaited = True
        # A thread that resolves the future sets the status, and then checks `_awaited`. Here the order is the other way
        # round, so that at least one of the two threads sees the other.
        if self._status in _DONE:
            return
        if message is not None:
            dispatcher = self._dispatcher
            if message.await_answer(dispatcher.replies, self, dispatcher.rebuild, seconds_left(deadline)):
                return
            self._look()  # a signal handler may have forked
        waiter = _Waiter()
        self._add_waiter(waiter)
        try:
            if not waiter.event.wait(seconds_left(deadline)):
                raise TimeoutError
        finally:
            self._waiters.remove(waiter)

    # Resolving

    def _on_resolved(self) -> None:
        """Tell all that wait for the future. The core calls this, and again if an exception ends it."""
        self._dispatcher.forget(self._task)
        if self._awaited and self._message is not None:
            self._message.stop_waiting(self._dispatcher.replies)
        if self._waiting:
            self._tell_waiters()
        if self._done_callbacks:
            self._call(self._done_callbacks)
        if self._on_done is not None:
            self._on_done(self)
            self._on_done = None

    def stop(self) -> None:
        """Cancel the task, or interrupt it if a worker has it; do nothing if it is done."""
        if not self.done() and not self.cancel():
            self._dispatcher.interrupt_task(self)

    def set_result(self, result: Any) -> None:
        """As Future.set_result."""
        if not _core.resolve(self, result):
            raise InvalidStateError(f"{self._status}: {self!r}")

    def set_exception(self, exception: BaseException | None) -> None:
        """As Future.set_exception."""
        if not _core.resolve(self, None, exception):
            raise InvalidStateError(f"{self._status}: {self!r}")

    def set_running_or_notify_cancel(self) -> bool:
        """As Future.set_running_or_notify_cancel. Cancelling has notified already."""
        if self._status != "PENDING":
            LOGGER.critical("Future %s in unexpected state: %s", id(self), self._status)
            raise RuntimeError("Future in unexpected state")
        self._status = "RUNNING"
        return True

    def has_answer(self) -> bool:
        """Return whether the worker has answered: then the future is resolved, or a thread is about to do that."""
        return self._message is not None and self._message.has_answer(self._dispatcher.replies)

    def cancel(self) -> bool:
        """Cancel the task if no worker has taken it, and return whether it is cancelled."""
        self._look()
        message = self._message
        if message is not None and self._status == "PENDING":
            message.cancel(self)
        return self.cancelled()

    def cancelled(self) -> bool:
        """As Future.cancelled."""
        self._look()
        return self._status in ("CANCELLED_AND_NOTIFIED", "CANCELLED")

    def done(self) -> bool:
        """As Future.done."""
        self._look()
        return self._status in _DONE

    def running(self) -> bool:
        """Return whether a worker has taken the task and not finished it."""
        message = self._message
        return message is not None and message.taken and not self.done()

    def __repr__(self) -> str:
        if self._status == "PENDING" and self.running():
            return f"<{type(self).__name__} at {id(self):#x} state=running>"
        return super().__repr__()

    def __reduce__(self) -> Any:
        raise TypeError("a future stays where it was made; pass its result, or a Channel")
