"""How coroutines wait for the core's queues.

Each event loop watches one eventfd. Whoever serves a waiting coroutine, in whatever interpreter, writes to it; the
loop then asks the core which transfers are done. No thread waits, nothing polls, and thousands of coroutines take one
descriptor. By the same way an interrupt of a worker's task wakes the loop that the task runs.
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
    """One loop's eventfd, and the coroutines of the loop that wait.

    Only the loop itself refers to it, so it goes when the loop is closed or forgotten; and with it what those who wait
    asked for, for they will never be resumed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.wakeup = Wakeup()
        self.waiting: dict[int, tuple[asyncio.Future[None], Transfer]] = {}
        loop.add_reader(self.wakeup.fileno(), self._on_wakeup)

    def _on_wakeup(self) -> None:
        for number in self.wakeup.take():
            future, _ = self.waiting.pop(number, (None, None))
            if future is not None and not future.done():
                future.set_result(None)

    def __del__(self) -> None:
        for _, transfer in self.waiting.values():
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
    """Let interrupts of the worker's task wake the loop, if it is the worker's own thread that is about to run it."""
    if in_worker():
        with contextlib.suppress(OSError, NotImplementedError):  # no descriptor is left; the loop cannot watch any
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
    """Return None if the wait has no end."""
    if timeout is None:
        return None
    if math.isnan(timeout) or timeout < 0:
        raise ValueError(f"timeout must be None or a number of seconds >= 0, not {timeout!r}")
    return None if timeout > 1e9 else timeout


async def transfer(begin: Callable[[Wakeup, int], Transfer], timeout: float | None) -> Transfer:
    """Begin a transfer, and return it when it is done and has not failed; it is still to be confirmed.

    Parameters
    ----------
    begin : callable
        Returns the transfer, which `wakeup` and a number are for.
    timeout : float or None
        Seconds that it may take; None: any time.

    Raises
    ------
    QueueClosed
        If the queue is closed.
    TimeoutError
        If it was not done in time: it is withdrawn.
    asyncio.CancelledError
        If the coroutine was cancelled: the transfer is undone.
    """
    seconds = _check_timeout(timeout)
    loop = asyncio.get_running_loop()
    number = next(_numbers)
    listener = _listener_of(loop)
    it = begin(listener.wakeup, number)
    if it.check():
        return it
    if seconds == 0 and it.withdraw():
        raise TimeoutError
    future: asyncio.Future[None] = loop.create_future()
    listener.waiting[number] = future, it
    del listener  # the loop's alone
    timer = None if seconds is None else loop.call_later(seconds, _set_result, future)
    try:
        await future
    except BaseException:
        it.undo()
        raise
    finally:
        if timer is not None:
            timer.cancel()
        _stop_waiting(loop, number)
    if it.withdraw():
        raise TimeoutError
    it.check()
    return it
