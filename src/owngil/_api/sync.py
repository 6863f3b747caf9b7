"""What threads of any interpreters synchronize with.

All but the barrier are classes of the core, so that no bytecode of ours stands where an interrupt could do harm.
"""

from collections.abc import Callable
from typing import Any, Self

from owngil import _core
from owngil._core import BoundedSemaphore, Counter, Event, Lock, Semaphore

__all__ = ["Barrier", "BoundedSemaphore", "Counter", "Event", "Lock", "Semaphore"]


class Barrier:
    """A place where threads of any interpreter of this process wait for each other; otherwise as `threading.Barrier`.

    It is passed as an argument, in a result or through a channel, or used by a function that is sent; all copies are
    the same barrier, and equal. It lives as long as any of them.

    Parameters
    ----------
    parties : int
        How many must wait before all of them go on.
    action : callable, optional
        What the last one to come calls, without arguments, before anybody goes on. If it raises, the barrier is broken.
    timeout : float, optional
        What `wait` takes when it is given none.

    Raises
    ------
    ValueError
        If `parties` is below 1.

    Notes
    -----
    Each interpreter that gets the barrier gets `action` as it does any function that is passed to it: the last one to
    come calls its own interpreter's.

    Examples
    --------
    >>> barrier = owngil.Barrier(2)
    >>> with owngil.Pool(2) as pool:
    ...     futures = [pool.submit(barrier.wait) for _ in range(2)]
    ...     sorted(future.result() for future in futures)
    [0, 1]
    """

    __slots__ = ("_action", "_barrier", "_timeout")

    def __init__(self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None) -> None:
        self._barrier = _core.Barrier(parties)
        self._action = action
        self._timeout = timeout

    @classmethod
    def _attach(cls, barrier: _core.Barrier, action: Callable[[], object] | None, timeout: float | None) -> Self:
        self = cls.__new__(cls)
        self._barrier = barrier
        self._action = action
        self._timeout = timeout
        return self

    def __reduce__(self) -> Any:
        return Barrier._attach, (self._barrier, self._action, self._timeout)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all have come, and return a number from 0 to ``parties - 1`` that is another for each of them.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait, the action's included, after which the barrier is broken. Default: the barrier's own.

        Raises
        ------
        threading.BrokenBarrierError
            If the barrier is broken, or becomes so or is reset during the wait.
        KeyboardInterrupt
            On Ctrl-C, or `Interpreter.interrupt`, during the wait; the barrier then has one waiter less.
        """
        return self._barrier.wait(self._timeout if timeout is None else timeout, self._action)

    def reset(self) -> None:
        """Make the barrier as new; whoever waits gets `threading.BrokenBarrierError`."""
        self._barrier.reset()

    def abort(self) -> None:
        """Break the barrier: waiting, now and from now on, raises `threading.BrokenBarrierError`."""
        self._barrier.abort()

    @property
    def parties(self) -> int:
        """How many must wait before all of them go on."""
        return self._barrier.parties

    @property
    def n_waiting(self) -> int:
        """How many are waiting now."""
        return self._barrier.n_waiting

    @property
    def broken(self) -> bool:
        """Whether the barrier is broken."""
        return self._barrier.broken

    def __eq__(self, other: object) -> bool:
        return self._barrier == other._barrier if isinstance(other, Barrier) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._barrier)

    def __repr__(self) -> str:
        state = "broken" if self.broken else f"{self.n_waiting} of {self.parties} waiting"
        return f"<owngil.Barrier {state}>"
