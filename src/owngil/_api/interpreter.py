"""One worker that keeps its state between calls."""

import weakref
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from owngil import _wire
from owngil._tasks.owner import OwnerDispatcher
from owngil._tasks.stats import Stats
from owngil._worker.calls import execute_code

__all__ = ["Interpreter"]

P = ParamSpec("P")
T = TypeVar("T")
_names = count(1)


class Interpreter:
    """A Python interpreter with a GIL and an OS thread of its own, in this process.

    Calls run one after the other, in the order in which they were submitted, and share the interpreter's modules and
    ``__main__``. It starts at once; `close` ends it, as leaving a ``with`` block does, or the end of the process.

    Parameters
    ----------
    name : str, optional
        Shown in tracebacks, and by the operating system as the thread's name (15 bytes of it).
        Default: ``"interpreter-1"`` and so on.
    prefix : bool, optional
        Whether its name stands before each line that it prints: ``[interpreter-1] text``.

    Raises
    ------
    BrokenPoolError
        If the interpreter cannot start.

    Notes
    -----
    Arguments and results are pickled (protocol 5; cloudpickle for what cannot be imported, such as lambdas and what is
    defined in ``__main__``). Buffers in them, such as arrays, are not copied: arguments are read-only views of the
    caller's memory, results are writable views of the worker's, which outlives it. What `share` and the like made is
    writable everywhere. In results, memory of no array of the worker's (Arrow's, for one) is copied once; ``bytes`` and
    ``bytearray`` always are.

    Examples
    --------
    >>> with owngil.Interpreter() as it:
    ...     it.exec("greeting = 'Hello'")
    ...     it.exec("print(greeting, name)", name="sub-interpreter")
    ...     it.call(pow, 2, 10)
    Hello sub-interpreter
    1024
    """

    def __init__(self, name: str | None = None, *, prefix: bool = False) -> None:
        self._name = f"interpreter-{next(_names)}" if name is None else str(name)
        fixed = self._name  # a reference to self would keep it alive
        self._dispatcher = OwnerDispatcher(1, lambda number: fixed, prefix=prefix)
        self._finalizer = weakref.finalize(self, self._dispatcher.close)
        self._finalizer.atexit = False  # the dispatcher sees to that itself
        self._id = self._dispatcher.start()

    @property
    def id(self) -> int:
        """CPython's number of the interpreter; the main one's is 0."""
        return self._id

    @property
    def name(self) -> str:
        """The name given, or made up, at the start."""
        return self._name

    @property
    def is_running(self) -> bool:
        """Whether it is running code at this moment."""
        return self._dispatcher.busy

    def exec(self, code: str, /, **names: object) -> None:
        """Run source text in the interpreter's ``__main__``, and wait for it.

        Parameters
        ----------
        code : str
            Any Python source; common leading white space is removed.
        **names : object
            Bound in ``__main__`` before `code` runs. They are passed as arguments are.

        Raises
        ------
        Exception
            Whatever `code` raises, SyntaxError included.
        RuntimeError
            If the interpreter is closed.
        """
        self.call(execute_code, code, names)

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``fn(*args, **kwargs)`` in the interpreter, wait for it, and return its result.

        Ctrl-C while waiting interrupts the call there as well.

        Raises
        ------
        Exception
            Whatever `fn` raises, with the interpreter's traceback as its cause.
        TypeError, pickle.PicklingError
            If `fn`, an argument or the result cannot be pickled.
        RuntimeError
            If the interpreter is closed.
        """
        future = self.submit(fn, *args, **kwargs)
        try:
            return future.result()
        finally:
            del future  # it holds the exception, whose traceback holds this frame

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start ``fn(*args, **kwargs)`` in the interpreter and return its future at once; see `call`."""
        return self._dispatcher.submit(_wire.dumps_call(fn, args, kwargs))

    def stats(self) -> Stats:
        """Return what the interpreter has done so far: tasks, and where its time went; see `Pool.stats`."""
        return self._dispatcher.stats()

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in whatever the interpreter is running; do nothing when it is idle.

        Python code notices at its next instruction, a wait of owngil's at once; other C code that is running notices
        when it returns.
        """
        self._dispatcher.interrupt()

    def close(self) -> None:
        """End the interpreter when it has done what was submitted, and wait for that. Closing again does nothing."""
        self._dispatcher.shutdown(wait=True, cancel_futures=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._dispatcher.leave(error)

    def __reduce__(self) -> Any:
        raise TypeError("an owngil.Interpreter stays where it was made; pass a Channel to talk to it")

    def __repr__(self) -> str:
        return f"<owngil.Interpreter {self._name!r} id={self._id}>"
