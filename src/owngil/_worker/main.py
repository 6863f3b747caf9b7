"""What runs in a worker: the loop that takes tasks and sends back what becomes of them.

The dispatcher starts `main` through the core, as the whole life of a new interpreter.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from owngil import _core, _globals, _output, _reports, _wire, isolation
from owngil._failure import describe_error
from owngil._output import flush
from owngil._protocol import ERROR, READY, RESULT

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


def _describe(fn: Callable[..., object], args: tuple[Any, ...]) -> str:
    """Return what a recording calls the task."""
    return "Interpreter.exec()" if fn is execute_code else _wire.describe_callable(args[0] if fn is call_chunk else fn)


def _run(parts: _wire.Parts) -> _wire.Parts:
    fn, args, kwargs = _wire.loads_call(parts)
    return _wire.dumps_result(_core.call(fn, args, kwargs, _describe), args[0] if fn is call_chunk else fn)


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
            answer = _wire.dumps(describe_error(error, name), "an exception cannot be sent back")
            kind = ERROR
        del parts  # the task's memory goes with the task
        if _globals.opened:
            _globals.keep_assigned()
        flush()
        _core.answer(kind, answer)
        del answer
        done += 1


def _import_all(modules: Sequence[str], worker: str) -> None:
    from importlib import import_module

    for module in modules:
        try:
            import_module(module)
        except BaseException as error:
            kind = type(error).__qualname__
            raise ImportError(f"'{module}' cannot be preloaded in worker '{worker}': {kind}: {error}") from error


def _prepare(name: str, setup: _wire.Parts) -> int | None:
    """Do what comes before the first task; return how many tasks the worker is for."""
    settings, pool_size, max_tasks, preload, initializer = _wire.loads(setup)
    isolation.set_pool_size(pool_size)
    _apply(settings)
    _reports.apply(settings)
    if preload:
        _import_all(preload, name)
    if initializer is not None:
        fn, args = initializer
        fn(*args)
        _globals.keep_assigned()
        flush()
    return max_tasks  # type: ignore[no-any-return]


def main() -> None:
    """Live as a worker: start up, serve, flush."""
    name, number, setup, _, replies = _core.worker_setup()
    threading.current_thread().name = name
    _reports.install(name, replies, number)
    _output.install()
    # The user's code comes in with the setup: from here on the start can be stopped.
    max_tasks = _core.run_task(_core.START, _prepare, name, setup)
    del setup
    replies.put(READY, number, ())
    _serve(name, max_tasks)
    flush()


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
        failure = describe_error(error, threading.current_thread().name)
    _core.count_calls(len(values) + (failure is not None), failure is not None)
    return perf_counter() - start, len(columns[0]), values, failure
