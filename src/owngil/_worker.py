"""What runs in a worker: the loop that takes tasks and sends back what becomes of them.

The dispatcher starts `main` through the core, as the whole life of a new interpreter.
"""

import contextlib
import io
import sys
import threading
from codecs import getincrementaldecoder
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from owngil import _core, _wire, isolation
from owngil._protocol import ERROR, READY, RESULT, STDERR, STDOUT

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["call_chunk", "execute_code", "main", "settings_of_caller"]


def settings_of_caller() -> dict[str, Any]:
    """Return what a worker takes over from the interpreter that starts it, so that code behaves there as here."""
    return {
        "path": [entry for entry in sys.path if isinstance(entry, str)],
        "argv": list(sys.argv),
        "recursion_limit": sys.getrecursionlimit(),
        "int_max_str_digits": sys.get_int_max_str_digits(),
        "dont_write_bytecode": sys.dont_write_bytecode,
        "pycache_prefix": sys.pycache_prefix,
    }


def _apply(settings: dict[str, Any]) -> None:
    sys.path[:] = settings["path"]
    sys.argv[:] = settings["argv"]
    sys.setrecursionlimit(settings["recursion_limit"])
    sys.set_int_max_str_digits(settings["int_max_str_digits"])
    sys.dont_write_bytecode = settings["dont_write_bytecode"]
    sys.pycache_prefix = settings["pycache_prefix"]


class _Output(io.BufferedIOBase):
    """The bytes under a worker's sys.stdout or sys.stderr; each write becomes a message to the dispatcher."""

    def __init__(self, replies: _core.Queue, kind: int, number: int, fd: int) -> None:
        self._replies = replies
        self._kind = kind
        self._number = number
        self._fd = fd
        self.name = "<stdout>" if fd == 1 else "<stderr>"
        self._decoder = getincrementaldecoder("utf-8")("surrogatepass")

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """Return the process's own descriptor: for child processes, whose output cannot come through here."""
        return self._fd

    def write(self, data: "ReadableBuffer", /) -> int:
        raw = bytes(data)
        try:
            text = self._decoder.decode(raw)
        except UnicodeDecodeError:
            self._decoder.reset()
            text = raw.decode("utf-8", "backslashreplace")
        if text:
            with contextlib.suppress(_core.QueueClosed):  # nobody listens any more
                self._replies.put(self._kind, self._number, (_core.Block(text.encode("utf-8", "surrogatepass")),))
        return len(raw)


def _text_output(output: _Output) -> io.TextIOWrapper:
    return io.TextIOWrapper(output, encoding="utf-8", errors="surrogatepass", newline="\n", line_buffering=True)


def _flush() -> None:
    # A task may have put anything there, or closed it: that is no reason to lose its result.
    try:  # noqa: SIM105 - contextlib.suppress() would cost more than the flush
        sys.stdout.flush()
    except BaseException:
        pass
    try:  # noqa: SIM105
        sys.stderr.flush()
    except BaseException:
        pass


def _user_traceback(error: BaseException) -> str:
    """Return the traceback without the frames that belong to this module."""
    tb = error.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename == __file__:
        tb = tb.tb_next

    def make() -> str:
        import traceback  # and with it a dozen modules: only workers that need it pay for it

        return "".join(traceback.format_exception(type(error), error, tb))

    return _text(make)


def _text(make: Callable[[], str]) -> str:
    """Return ``make()``, which runs the user's own __str__ and __repr__, or what to say if that fails."""
    try:
        return make()
    except BaseException as failure:
        return f"(cannot be shown: {type(failure).__qualname__})"


def _describe_error(error: BaseException, worker: str) -> _wire.Failure:
    """Take an exception apart so that something sensible arrives whatever it is made of."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    message = _text(lambda: str(error))
    text = f"In worker '{worker}':\n{_user_traceback(error)}"
    pickled: bytes | None
    try:
        import cloudpickle

        pickled, reason = cloudpickle.dumps(error), ""
    except BaseException as problem:
        failure = problem
        pickled, reason = None, _text(lambda: str(failure))
    return name, message, text, pickled, reason


def _run(parts: _wire.Parts) -> _wire.Parts:
    fn, args, kwargs = _wire.loads_call(parts)
    return _wire.dumps_result(fn(*args, **kwargs), fn)


def _serve(name: str, max_tasks: int | None) -> None:
    """Run tasks until the queue is closed and empty, or `max_tasks` are done."""
    done = 0
    while max_tasks is None or done < max_tasks:
        try:
            task, parts = _core.take_task()
        except _core.QueueClosed:
            return
        # Interrupts are raised inside run_task() or not at all: what stands here runs undisturbed.
        try:
            answer = _core.run_task(task, _run, parts)
            kind = RESULT
        except BaseException as error:
            answer = _wire.dumps(_describe_error(error, name), "an exception cannot be sent back")
            kind = ERROR
        del parts  # the task's memory goes with the task
        _flush()
        _core.answer(kind, answer)
        del answer
        done += 1


def main() -> None:
    """Live as a worker: start up, serve, flush."""
    name, number, setup, _, replies = _core.worker_setup()
    threading.current_thread().name = name
    sys.stdout = _text_output(_Output(replies, STDOUT, number, 1))
    sys.stderr = _text_output(_Output(replies, STDERR, number, 2))
    settings, pool_size, max_tasks, initializer = _wire.loads(setup)
    del setup
    isolation.set_pool_size(pool_size)
    _apply(settings)
    if initializer is not None:
        fn, args = initializer
        fn(*args)
        _flush()
        del fn, args
    del initializer
    replies.put(READY, number, ())
    _serve(name, max_tasks)
    _flush()


_code_count = 0


def execute_code(code: str, names: dict[str, object]) -> None:
    """Run source text in the worker's ``__main__``, with `names` bound there."""
    import linecache  # as above
    import textwrap

    global _code_count
    _code_count += 1
    source = textwrap.dedent(code)
    filename = f"<owngil.exec {_code_count}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace = sys.modules["__main__"].__dict__
    namespace.update(names)
    exec(compile(source, filename, "exec"), namespace)


def call_chunk(
    fn: Callable[..., object], columns: tuple[Sequence[Any], ...]
) -> tuple[float, int, list[object], _wire.Failure | None]:
    """Call `fn` with an item of each column at a time, until one raises: a chunk of a map.

    Returns the seconds, the number of calls, what they returned, and what the last one raised.
    """
    values: list[object] = []
    failure = None
    start = perf_counter()
    try:
        values.extend(map(fn, *columns))
        if len(values) < len(columns[0]):  # to extend() it looks like the end
            raise StopIteration("raised by the function that is mapped")
    except BaseException as error:
        failure = _describe_error(error, threading.current_thread().name)
    return perf_counter() - start, len(columns[0]), values, failure
