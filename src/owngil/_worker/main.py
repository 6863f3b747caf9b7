"""What runs in a worker: the loop that takes tasks and sends back what becomes of them.

The dispatcher starts `main` through the core, as the whole life of a new interpreter.
"""

import atexit
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from owngil import _core, _wire
from owngil._isolation import blas_threads
from owngil._wire.globals import keep_assigned, opened
from owngil._wire.protocol import ERROR, READY, RESULT
from owngil._worker import reports, stdio
from owngil._worker.calls import call_chunk, execute_code
from owngil._worker.errors import describe_error
from owngil._worker.startup import after_import
from owngil._worker.stdio import flush

__all__ = ["main"]


def _show_warning(*args: Any) -> None:
    """Stand in for warnings.showwarning."""
    from owngil._worker.warnings import forward  # few tasks warn

    forward(*args)


def _forward_logging(_: ModuleType) -> None:
    from owngil._worker import logging

    logging.install()


def _restore_filters(filters: list[Any]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]


def _forward_reports() -> None:
    """Let warnings go to the caller, and log records as soon as logging is imported."""
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    # What warns after the last Python function, when modules are torn down, is shown by C, and not sent.
    atexit.register(_restore_filters, list(warnings.filters))
    after_import("logging", _forward_logging)


def _apply(settings: dict[str, Any]) -> None:
    """Take over what `settings_of_caller` found at the caller."""
    sys.path[:] = settings["path"]
    sys.argv[:] = settings["argv"]
    sys.setrecursionlimit(settings["recursion_limit"])
    sys.set_int_max_str_digits(settings["int_max_str_digits"])
    sys.dont_write_bytecode = settings["dont_write_bytecode"]
    sys.pycache_prefix = settings["pycache_prefix"]
    reports.callers_level = settings["level"]  # until now, all records were sent
    # Behind the filter of owngil's own.
    warnings.filters[1:] = settings["filters"] or [("always", None, Warning, None, 0)]  # type: ignore[index]


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
        if opened:
            keep_assigned()
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
    blas_threads.set_pool_size(pool_size)
    _apply(settings)
    if preload:
        _import_all(preload, name)
    if initializer is not None:
        fn, args = initializer
        fn(*args)
        keep_assigned()
        flush()
    return max_tasks  # type: ignore[no-any-return]


def main() -> None:
    """Live as a worker: start up, serve, flush."""
    name, number, setup, _, replies = _core.worker_setup()
    threading.current_thread().name = name
    reports.begin(name, replies, number)
    _forward_reports()
    stdio.install()
    # The user's code comes in with the setup: from here on the start can be stopped.
    max_tasks = _core.run_task(_core.START, _prepare, name, setup)
    del setup
    replies.put(READY, number, ())
    _serve(name, max_tasks)
    flush()
