"""A queue between interpreters."""

from collections.abc import Iterator
from typing import Any, Self

from owngil import _core, _wire
from owngil._errors import ChannelClosed
from owngil._wire.interrupts import is_interrupt

__all__ = ["Channel"]

_ITEM = 0
_CANNOT_BE_SENT = "the object cannot be sent through a channel"
_NOTHING_CAN_BE_SENT = "the channel is closed: nothing can be sent"
_NOTHING_LEFT = "the channel is closed and empty: nothing can be received"


def _rebuild(received: _core.Transfer) -> Any:
    """Return the object. Confirm a message that cannot be rebuilt, so that it does not go back into the queue."""
    try:
        return _wire.loads(received.parts)
    except BaseException as error:
        if not is_interrupt(error):
            received.confirmed = True
        raise


class Channel:
    """A first-in, first-out queue with any number of senders and receivers, in any interpreter of this process.

    A channel is passed as an argument, in a result or through another channel; all copies are the same channel. It
    lives as long as any of them.

    Parameters
    ----------
    maxsize : int, optional
        How many objects may be on their way before `send` waits; 0 (the default): any number.

    Raises
    ------
    ValueError
        If `maxsize` is negative.

    Notes
    -----
    Objects travel as a task's arguments do: what is received is a copy, but for its buffers, which are read-only
    views. The thread or coroutine that has waited longest is served first.

    A receiver that is interrupted (Ctrl-C, `Interpreter.interrupt`) or cancelled either has the object or leaves it in
    the channel, which may then hold more than `maxsize`. A sender that is interrupted may have sent.

    Examples
    --------
    >>> channel = owngil.Channel()
    >>> with owngil.Interpreter() as it:
    ...     it.exec("channel.send(number ** 2)", channel=channel, number=3)
    >>> channel.recv()
    9
    """

    __slots__ = ("_queue",)

    def __init__(self, maxsize: int = 0) -> None:
        self._queue = _core.Queue(maxsize)

    @classmethod
    def _attach(cls, queue: _core.Queue) -> Self:
        self = cls.__new__(cls)
        self._queue = queue
        return self

    def __reduce__(self) -> Any:
        return Channel._attach, (self._queue,)

    def send(self, obj: object, timeout: float | None = None) -> None:
        """Send an object; wait while the channel is full.

        Parameters
        ----------
        obj : object
            Anything picklable.
        timeout : float, optional
            Seconds to wait for room. Default: as long as it takes.

        Raises
        ------
        ChannelClosed
            If the channel is closed, or is closed during the wait.
        TimeoutError
            If there was no room for `timeout` seconds; `obj` was not sent.
        TypeError, pickle.PicklingError
            If `obj` cannot be pickled.
        """
        parts = _wire.dumps(obj, _CANNOT_BE_SENT)
        try:
            self._queue.put(_ITEM, 0, parts, timeout)
        except _core.QueueClosed:
            raise ChannelClosed(_NOTHING_CAN_BE_SENT) from None
        except TimeoutError:
            raise TimeoutError(f"the channel was full for {timeout} s: nothing was sent") from None

    def recv(self, timeout: float | None = None) -> Any:
        """Wait for an object and return it.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait. Default: as long as it takes.

        Raises
        ------
        ChannelClosed
            If the channel is closed and empty, or becomes so during the wait.
        TimeoutError
            If nothing came for `timeout` seconds.
        """
        try:
            received = self._queue.receive(timeout)
        except _core.QueueClosed:
            raise ChannelClosed(_NOTHING_LEFT) from None
        except TimeoutError:
            raise TimeoutError(f"nothing was received for {timeout} s") from None
        # Until it is confirmed, the message can go back into the queue. The `try` is in this frame, and not in
        # _rebuild(): a signal handler may raise an exception at the call, whose traceback would keep the message in
        # that frame.
        try:
            obj = _rebuild(received)
        except BaseException:
            received.undo()
            raise
        received.confirmed = True
        return obj

    async def asend(self, obj: object, timeout: float | None = None) -> None:
        """Send an object from a coroutine; let others run while the channel is full. See `send`.

        Parameters
        ----------
        obj : object
            Anything picklable.
        timeout : float, optional
            Seconds to wait for room. Default: as long as it takes.

        Raises
        ------
        ChannelClosed
            If the channel is closed, or is closed during the wait.
        TimeoutError
            If there was no room for `timeout` seconds; `obj` was not sent.
        TypeError, pickle.PicklingError
            If `obj` cannot be pickled.
        asyncio.CancelledError
            If the coroutine was cancelled. `obj` was not sent, unless it was received before that could be helped.

        Notes
        -----
        Coroutines wait in one line with the threads that wait in `send`. Works in any event loop that has
        ``add_reader``, in the main interpreter and in workers.

        Examples
        --------
        >>> import asyncio
        >>> channel = owngil.Channel(maxsize=1)
        >>> async def count():
        ...     for number in range(3):
        ...         await channel.asend(number)
        ...     channel.close()
        >>> async def main():
        ...     counting = asyncio.create_task(count())
        ...     async for number in channel:
        ...         print(number)
        ...     await counting
        >>> asyncio.run(main())
        0
        1
        2
        """
        from owngil._wire import asyncio_bridge

        parts = _wire.dumps(obj, _CANNOT_BE_SENT)
        try:
            sent = await asyncio_bridge.transfer(
                lambda wakeup, key: self._queue.begin_send(wakeup, key, parts), timeout
            )
        except _core.QueueClosed:
            raise ChannelClosed(_NOTHING_CAN_BE_SENT) from None
        except TimeoutError:
            raise TimeoutError(f"the channel was full for {timeout} s: nothing was sent") from None
        sent.confirmed = True

    async def arecv(self, timeout: float | None = None) -> Any:
        """Wait for an object in a coroutine and return it; let others run meanwhile. See `recv`.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait. Default: as long as it takes.

        Raises
        ------
        ChannelClosed
            If the channel is closed and empty, or becomes so during the wait.
        TimeoutError
            If nothing came for `timeout` seconds.
        asyncio.CancelledError
            If the coroutine was cancelled. What it was about to receive goes to the next receiver.

        Notes
        -----
        Coroutines wait in one line with the threads that wait in `recv`. Works in any event loop that has
        ``add_reader``, in the main interpreter and in workers.

        Examples
        --------
        >>> import asyncio
        >>> channel = owngil.Channel()
        >>> with owngil.Interpreter() as it:
        ...     it.exec("channel.send(number ** 2)", channel=channel, number=3)
        >>> asyncio.run(channel.arecv())
        9
        """
        from owngil._wire import asyncio_bridge

        try:
            received = await asyncio_bridge.transfer(self._queue.begin_receive, timeout)
        except _core.QueueClosed:
            raise ChannelClosed(_NOTHING_LEFT) from None
        except TimeoutError:
            raise TimeoutError(f"nothing was received for {timeout} s") from None
        try:  # as in recv()
            obj = _rebuild(received)
        except BaseException:
            received.undo()
            raise
        received.confirmed = True
        return obj

    def close(self) -> None:
        """Let nothing more be sent. Objects on their way can still be received. Closing again does nothing."""
        self._queue.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._queue.closed

    def __len__(self) -> int:
        """Return how many objects are on their way."""
        return len(self._queue)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        """Receive until the channel is closed and empty."""
        while True:
            try:
                obj = self.recv()
            except ChannelClosed:
                return
            yield obj
            del obj

    def __aiter__(self) -> Self:
        """Receive in a coroutine until the channel is closed and empty."""
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.arecv()
        except ChannelClosed:
            raise StopAsyncIteration from None

    def __eq__(self, other: object) -> bool:
        return self._queue == other._queue if isinstance(other, Channel) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._queue)

    def __repr__(self) -> str:
        return f"<owngil.Channel {'closed, ' if self.closed else ''}{len(self)} waiting>"
