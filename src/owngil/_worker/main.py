"""A worker's main function: prepares the interpreter, then takes tasks in a loop and sends answers.

`_tasks/workers.py` has the source text that the core runs in each new interpreter. Its import of owngil prepares the
interpreter (`startup`), and then it calls `main`. The interpreter ends when that returns.
"""

import atexit
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from owngil import _core, _wire
from owngil._isolation import blas_threads, environment
from owngil._wire.globals import close_opened, opened
from owngil._wire.protocol import ERROR, READY, RESULT, START
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
    # When modules are torn down, no Python function can send a warning any more: CPython itself shows it.
    atexit.register(_restore_filters, list(warnings.filters))
    after_import("logging", _forward_logging)


def _apply(settings: dict[str, Any]) -> None:
    """Take over what `settings_of_caller` found at the caller."""
    sys.path[:] = settings["path"]
    sys.argv[:] = settings["argv"]
    environment.replace_environment(settings["environment"])
    sys.setrecursionlimit(settings["recursion_limit"])
    sys.set_int_max_str_digits(settings["int_max_str_digits"])
    sys.dont_write_bytecode = settings["dont_write_bytecode"]
    sys.pycache_prefix = settings["pycache_prefix"]
    if sys.version_info >= (3, 15):
        sys.set_lazy_imports(settings["lazy_imports"])  # type: ignore[attr-defined,unused-ignore]
    reports.callers_level = settings["level"]  # before that, all records are sent
    # The first filter is owngil's own.
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
        # Interrupts are raised only inside run_task(): the rest of the loop is never interrupted.
        try:
            answer = _core.run_task(task, _run, parts)
            kind = RESULT
        except BaseException as error:
            answer = _wire.dumps(describe_error(error, name), "an exception cannot be sent back")
            kind = ERROR
        del parts  # frees the task's memory
        if opened:
            close_opened()
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


def _log_failure() -> None:
    """Log the exception of an initializer, as the standard library's executors do: the pool's error comes later."""
    import logging  # few initializers fail

    logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)


def _prepare(name: str, setup: _wire.Parts) -> int | None:
    """Prepare the worker for its first task; return how many tasks it is for."""
    settings, pool_size, max_tasks, preload, copies, initializer = _wire.loads(setup)
    if copies:
        _wire.copy_arguments()
    blas_threads.set_pool_size(pool_size)
    _apply(settings)
    if preload:
        _import_all(preload, name)
    if initializer is not None:
        fn, args = initializer
        try:
            fn(*args)
        except Exception:
            _log_failure()
            raise
        close_opened()
        flush()
    return max_tasks  # type: ignore[no-any-return]


def main() -> None:
    """Run as a worker: prepare, serve, flush."""
    name, number, setup, _, replies = _core.worker_setup()
    own_thread: Any = threading.current_thread()
    own_thread.name = name
    # Since 3.13 threading takes this thread for a daemon, because it has not started it. Threads of tasks would inherit
    # that, and be ended with the worker.
    own_thread._daemonic = False
    reports.connect(name, replies, number)
    _forward_reports()
    stdio.install()
    # The setup runs code of the user. From here on, the start can be interrupted.
    max_tasks = _core.run_task(START, _prepare, name, setup)
    del setup
    replies.put(READY, number, ())
    _serve(name, max_tasks)
    flush()
