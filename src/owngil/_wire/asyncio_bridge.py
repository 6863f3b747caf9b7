"""Lets coroutines wait for the queues of the core.

Each event loop watches one eventfd. The thread that puts the message for which a coroutine waits, in any interpreter,
writes to it. The loop then asks the core which transfers are done. No extra thread waits, nothing polls, and thousands
of coroutines need one descriptor. An interrupt of a worker's task wakes the loop that the task runs in the same way.
"""

import asyncio
import contextlib
import math
import weakref
from collections.abc import Callable
from itertools import count

from owngil._core import Transfer, Wakeup, in_worker

__all__ = ["transfer", "watch"]

_numbers = count()


class _Listener:
    """The eventfd of a loop, and the coroutines of the loop that wait.

    Only the loop refers to it, so it is deleted when the loop is closed or dropped. Then it undoes the transfers of the
    coroutines that wait, which will never be resumed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.waiting: dict[int, tuple[asyncio.Future[None], Transfer]] = {}
        self.wakeup = Wakeup()
        loop.add_reader(self.wakeup.fileno(), self._on_wakeup)

    def _on_wakeup(self) -> None:
        for number in self.wakeup.take():
            future, _ = self.waiting.pop(number, (None, None))
            if future is not None and not future.done():
                future.set_result(None)

    def __del__(self) -> None:
        for _, transfer in getattr(self, "waiting", {}).values():  # a signal handler may have ended __init__()
            transfer.undo()


_listeners: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[_Listener]]
_listeners = weakref.WeakKeyDictionary()


def _listener_of(loop: asyncio.AbstractEventLoop) -> _Listener:
    known = _listeners.get(loop)
    listener = None if known is None else known()
    if listener is None:
        listener = _Listener(loop)
        _listeners[loop] = weakref.ref(listener)
    return listener


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Let an interrupt of a worker's task wake the loop. Does nothing outside of a worker's own thread."""
    if in_worker():
        with contextlib.suppress(OSError, NotImplementedError):  # no descriptor is free; the loop cannot watch any
            _listener_of(loop).wakeup.watch()


def _stop_waiting(loop: asyncio.AbstractEventLoop, number: int) -> None:
    known = _listeners.get(loop)
    listener = None if known is None else known()
    if listener is not None:
        listener.waiting.pop(number, None)


def _set_result(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _check_timeout(timeout: float | None) -> float | None:
    """Return the timeout, or None if the wait has no end."""
    if timeout is None:
        return None
    if math.isnan(timeout) or timeout < 0:
        raise ValueError(f"timeout must be None or a number of seconds >= 0, not {timeout!r}")
    return None if timeout > 1e9 else timeout


async def transfer(start: Callable[[Wakeup, int], Transfer], timeout: float | None) -> Transfer:
    """Begin a transfer, and return it when it is done. The caller must confirm it.

    Parameters
    ----------
    start : callable
        Begins the transfer and returns it, given the loop's wakeup and a number that identifies the transfer there.
    timeout : float or None
        Seconds that it may take; None: any number.

    Raises
    ------
    QueueClosed
        If the queue is closed.
    TimeoutError
        If it was not done in time. It is withdrawn.
    asyncio.CancelledError
        If the coroutine was cancelled. The transfer is undone.
    """
    seconds = _check_timeout(timeout)
    loop = asyncio.get_running_loop()
    number = next(_numbers)
    listener = _listener_of(loop)
    it = start(listener.wakeup, number)
    try:
        if not it.check():
            if seconds == 0 and it.withdraw():
                raise TimeoutError
            future: asyncio.Future[None] = loop.create_future()
            listener.waiting[number] = future, it
            del listener  # only the loop may refer to it
            await _until(future, seconds, loop, number)
            if it.withdraw():
                raise TimeoutError
            it.check()
    except BaseException:  # its traceback would keep the transfer in this frame
        it.undo()
        raise
    return it


async def _until(
    future: asyncio.Future[None], seconds: float | None, loop: asyncio.AbstractEventLoop, number: int
) -> None:
    """Wait for the future, for so many seconds at most."""
    timer = None
    try:
        timer = None if seconds is None else loop.call_later(seconds, _set_result, future)
        await future
    finally:
        if timer is not None:
            timer.cancel()
        _stop_waiting(loop, number)
