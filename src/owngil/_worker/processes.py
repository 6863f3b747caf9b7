"""Replaces functions of os that would act on the whole process, and joins multiprocessing here to main's.

CPython refuses os.fork() and os.exec*() in workers. Its error does not say what to do; that of the functions here does.
A worker has a current folder of its own, but for systems that do not allow it: there os.chdir() is refused, too.
"""

import contextlib
import importlib
import sys
import threading
from typing import Any, NoReturn

from owngil import _core

__all__ = ["end_fork_server", "refuse_what_hits_all", "share_authkey", "share_tracker"]

_AT_MAIN = "owngil._caller.processes"

_REFUSED = {
    "fork": "fork the whole process: use subprocess, or multiprocessing.get_context('spawn') or 'forkserver'",
    "forkpty": "fork the whole process: use pty.openpty() with subprocess",
    "execv": "replace the whole process: use subprocess.run() or os.posix_spawn()",
    "execve": "replace the whole process: use subprocess.run() or os.posix_spawn()",
}
_FOLDER = (
    "change the current folder of the whole process, because this system (a container, perhaps) does not let a thread "
    "have its own: use absolute paths, or cwd= of subprocess"
)


def _refusal(name: str, why: str) -> Any:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        worker = threading.current_thread().name
        raise RuntimeError(f"os.{name}() in worker '{worker}' would {why}")

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Raise RuntimeError: in a worker, this would {why}."
    return refuse


def refuse_what_hits_all() -> None:
    """Replace os.fork(), os.forkpty() and os.exec*(); os.chdir() and os.fchdir() if the worker has no own folder."""
    modules = [importlib.import_module(name) for name in ("os", "posix")]
    refused = _REFUSED if _core.has_own_folder() else {**_REFUSED, "chdir": _FOLDER, "fchdir": _FOLDER}
    for name, why in refused.items():
        refusal = _refusal(name, why)
        for module in modules:
            if hasattr(module, name):
                setattr(module, name, refusal)


def share_authkey(process: Any) -> None:
    """Give multiprocessing.process the main interpreter's key, so that proxies of managers are accepted."""
    process.current_process().authkey = _core.call_in_main(_AT_MAIN, "authkey")


def share_tracker(resource_tracker: Any) -> None:
    """Let multiprocessing.resource_tracker use the main interpreter's tracker: what it tracks outlives the worker."""
    tracker = resource_tracker._resource_tracker

    def ensure_running() -> None:
        tracker._fd = int(_core.call_in_main(_AT_MAIN, "tracker_descriptor"))

    def ensure_running_and_write(message: bytes | None = None) -> None:
        ensure_running()
        if message is not None:
            tracker._write(message)

    tracker.ensure_running = resource_tracker.ensure_running = ensure_running
    tracker._ensure_running_and_write = ensure_running_and_write  # its other name, in newer versions
    tracker._stop = lambda *args, **kwargs: None


def end_fork_server() -> None:
    """End the fork server of multiprocessing in this interpreter, which would live as long as this process."""
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    stop = getattr(server, "_stop", None)
    if stop is not None:
        with contextlib.suppress(OSError):  # another thread has waited for it
            stop()
