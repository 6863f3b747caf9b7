"""Processes and workers: what a worker cannot start, and what it must not leave.

CPython refuses fork and exec in workers, because both would act on the whole process. It says so, but not what to do.
"""

import contextlib
import importlib
import sys
import threading
from typing import Any, NoReturn

__all__ = ["end_helpers", "refuse_fork_and_exec"]

_ADVICE = {
    "fork": "use subprocess, or multiprocessing.get_context('spawn') or 'forkserver'",
    "forkpty": "use pty.openpty() with subprocess",
    "execv": "use subprocess.run() or os.posix_spawn()",
    "execve": "use subprocess.run() or os.posix_spawn()",
}


def _refusal(name: str, advice: str) -> Any:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        worker = threading.current_thread().name
        what = "fork" if name.startswith("fork") else "replace"
        raise RuntimeError(f"os.{name}() in worker '{worker}' would {what} the whole process: {advice}")

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Raise RuntimeError: a worker cannot do this; {advice}."
    return refuse


def refuse_fork_and_exec() -> None:
    """Let os.fork() and the like say what to use instead."""
    modules = [importlib.import_module(name) for name in ("os", "posix")]
    for name, advice in _ADVICE.items():
        refusal = _refusal(name, advice)
        for module in modules:
            if hasattr(module, name):
                setattr(module, name, refusal)


def end_helpers() -> None:
    """End the processes that multiprocessing keeps for this interpreter: they would stay until this process ends."""
    for module, attribute in (("forkserver", "_forkserver"), ("resource_tracker", "_resource_tracker")):
        helper = getattr(sys.modules.get(f"multiprocessing.{module}"), attribute, None)
        stop = getattr(helper, "_stop", None)
        if stop is not None:
            with contextlib.suppress(OSError):  # somebody else has waited for it
                stop()
