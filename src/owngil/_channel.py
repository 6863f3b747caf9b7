"""A queue between interpreters."""

from collections.abc import Iterator
from typing import Any, Self

from owngil import _core, _wire
from owngil._errors import ChannelClosed

__all__ = ["Channel"]

_ITEM = 0


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
    views. Whoever waited longest is served first.

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
        parts = _wire.dumps(obj, "the object cannot be sent through a channel")
        try:
            self._queue.put(_ITEM, 0, parts, timeout)
        except _core.QueueClosed:
            raise ChannelClosed("the channel is closed: nothing can be sent") from None
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
            _, _, parts = self._queue.get(timeout)
        except _core.QueueClosed:
            raise ChannelClosed("the channel is closed and empty: nothing can be received") from None
        except TimeoutError:
            raise TimeoutError(f"nothing was received for {timeout} s") from None
        return _wire.loads(parts)

    def close(self) -> None:
        """Let nothing more be sent; what is on its way can still be received. Closing again does nothing."""
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

    def __eq__(self, other: object) -> bool:
        return self._queue == other._queue if isinstance(other, Channel) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._queue)

    def __repr__(self) -> str:
        return f"<owngil.Channel {'closed, ' if self.closed else ''}{len(self)} waiting>"
