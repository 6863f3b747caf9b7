"""Prepares a worker's interpreter, before the rest of owngil is imported there."""

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
from owngil._isolation import import_hook, other_interpreters
from owngil._worker.processes import end_fork_server, refuse_what_hits_all, share_authkey, share_tracker

__all__ = ["after_import", "prepare_worker"]


class _Watcher:
    """A finder for a few pure Python modules. It calls a function when such a module has been imported.

    It stays in sys.meta_path: another thread may be going through that list, and would skip a finder if one before it
    were removed.
    """

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
            then = self.awaited.get(name)
            if then is not None:
                then(module)
                self.awaited.pop(name, None)  # not before: an interrupt of `then` makes the import fail

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
    """Let interrupts of a task wake each event loop that runs on the worker's own thread.

    Patch the check with which every run of a loop begins. There, an interrupt leaves nothing half done, and no frame of
    this module appears in tracebacks of coroutines.
    """
    check_running: Callable[[Any], None] = base_events.BaseEventLoop._check_running

    def _check_running(self: Any) -> None:
        check_running(self)
        from owngil._wire.asyncio_bridge import watch  # imports asyncio

        watch(self)

    base_events.BaseEventLoop._check_running = _check_running


def _forget_own_thread() -> None:
    """Delete threading's record of this thread while the module threading is intact.

    Since 3.13 threading takes a worker's thread for one that it has not started. The record of such a thread removes
    itself when the thread's state is cleared. Before 3.13.3 that prints an error, because the module has been torn down
    (gh-130522).
    """
    records = getattr(threading, "_thread_local_info", None)
    if records is not None:
        vars(records).clear()


def _hide_signal_handlers() -> None:
    """Let signal.getsignal() tell a worker that a handler is not its own.

    CPython has one table of handlers for the process, and returns objects of the main interpreter in any other.
    asyncio.run() calls getsignal().
    """
    # Patch the built-in module that signal itself calls, because signal is not imported yet.
    module: Any = importlib.import_module("_signal")

    def getsignal(signalnum: int, /) -> None:
        """Return None: the handler was not installed by this interpreter."""
        if not 1 <= operator.index(signalnum) < module.NSIG:
            raise ValueError("signal number out of range")

    module.getsignal = getsignal


def _end_late_workers() -> None:
    """End the workers that exit functions have started, if those were the first that this interpreter started.

    atexit ignores what is registered while it runs: so also the function by which `_tasks/exit.py` ends workers.
    """
    ends = sys.modules.get("owngil._tasks.exit")
    if ends is not None:
        ends.end_last()


def prepare_worker() -> None:
    """Install the import hook and other patches, and register what must run last at the interpreter's end."""
    # The hook comes first: on 3.12, pickle's own extension module needs a private copy.
    import_hook.install()
    # Import _pickle here: if no private copy can be made, this raises the error. pickle would ignore it.
    importlib.import_module("_pickle")
    _hide_signal_handlers()
    refuse_what_hits_all()
    other_interpreters.protect_worker()
    after_import("asyncio.base_events", _watch_loops)
    after_import("multiprocessing.process", share_authkey)
    after_import("multiprocessing.resource_tracker", share_tracker)
    # NumPy changes its types while it is imported: they lose their version tags.
    after_import("numpy", lambda _: _core.complete_type_versions())
    # The functions that are registered first run last: after those of packages, and of owngil's nested pools.
    atexit.register(import_hook.uninstall)
    atexit.register(_core.before_end)
    atexit.register(_forget_own_thread)
    atexit.register(end_fork_server)  # after multiprocessing has joined its processes
    atexit.register(_end_late_workers)
