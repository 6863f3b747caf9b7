"""What comes first in a worker's interpreter, before the rest of owngil is imported there."""

import atexit
import importlib
import operator
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from owngil import _core
from owngil._isolation import import_hook
from owngil._worker.processes import end_helpers, refuse_fork_and_exec

__all__ = ["after_import", "prepare_worker"]


class _Watcher:
    """A finder for a few pure Python modules, by which something is done to each as soon as it is there."""

    def __init__(self) -> None:
        self.awaited: dict[str, Callable[[ModuleType], None]] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.awaited:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        execute: Callable[[ModuleType], None] = loader.exec_module

        def execute_and_go_on(module: ModuleType) -> None:
            execute(module)
            then = self.awaited.pop(name, None)
            if not self.awaited and self in sys.meta_path:
                sys.meta_path.remove(self)  # type: ignore[arg-type]
            if then is not None:
                then(module)

        loader.exec_module = execute_and_go_on
        return spec


_watcher = _Watcher()


def after_import(name: str, then: Callable[[ModuleType], None]) -> None:
    """Call `then` with the pure Python module `name` when it is imported, or now if it has been."""
    module = sys.modules.get(name)
    if module is not None:
        then(module)
        return
    _watcher.awaited[name] = then
    if _watcher not in sys.meta_path:
        sys.meta_path.insert(0, _watcher)  # type: ignore[arg-type]


def _watch_loops(base_events: Any) -> None:
    """Let each event loop that begins to run on the worker's own thread be woken by interrupts of its task.

    At the check with which every run begins: nothing has been set up yet that an interrupt would leave half done, and
    no frame stays in the tracebacks of what the loop runs.
    """
    check_running: Callable[[Any], None] = base_events.BaseEventLoop._check_running

    def _check_running(self: Any) -> None:
        check_running(self)
        from owngil._wire.asyncio_bridge import watch  # which imports asyncio

        watch(self)

    base_events.BaseEventLoop._check_running = _check_running


def _forget_own_thread() -> None:
    """Let go of threading's record of this thread while its module is whole.

    Since 3.13 threading takes a worker's thread for a foreign one, whose record removes itself when the thread's state
    is cleared; before 3.13.3 it prints an error, because its module is gone by then (gh-130522).
    """
    records = getattr(threading, "_thread_local_info", None)
    if records is not None:
        vars(records).clear()


def _hide_signal_handlers() -> None:
    """Let signal.getsignal() tell a worker that a handler is not its own.

    CPython has one table of handlers for the process, and gives any interpreter the main one's objects; asyncio.run()
    asks for one each time.
    """
    # The built-in part of signal, which is there sooner than the rest, and which that asks at each call.
    module: Any = importlib.import_module("_signal")

    def getsignal(signalnum: int, /) -> None:
        """Return None: the handler was not installed by this interpreter."""
        if not 1 <= operator.index(signalnum) < module.NSIG:
            raise ValueError("signal number out of range")

    module.getsignal = getsignal


def prepare_worker() -> None:
    """Install the import hook, and what must be the last to run at the interpreter's end."""
    # On 3.12 pickle's own extension module is one that needs a private copy, so the hook comes before what imports it.
    import_hook.install()
    # If no private copy can be had at all, this is where it is said: pickle would go on without its accelerator.
    importlib.import_module("_pickle")
    _hide_signal_handlers()
    refuse_fork_and_exec()
    after_import("asyncio.base_events", _watch_loops)
    # NumPy changes its types while it is imported, by which they lose their versions.
    after_import("numpy", lambda _: _core.complete_type_versions())
    # The first to be registered are the last to run: when packages, and owngil's own nested pools, have ended.
    atexit.register(import_hook.uninstall)
    atexit.register(_core.before_end)
    atexit.register(_forget_own_thread)
    atexit.register(end_helpers)  # when multiprocessing has joined its processes
