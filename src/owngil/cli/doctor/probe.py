"""Runs in child processes of ``owngil doctor``: imports a package's modules in workers, or in the main interpreter.

It tells its parent how far it is by lines of JSON in a pipe, written before each step, so that the parent knows the
step at which the process crashed. Short lines may come from several workers: the system keeps writes below 4 KiB whole.
`examine` reads the lines and decides.
"""

import faulthandler
import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from typing import Any

import owngil
from owngil._isolation import report
from owngil._tasks.workers import libraries_with_threads
from owngil._wire import type_name

__all__ = ["HUNG", "main"]

HUNG = 3  # the exit code after a timeout
_GRACE = 1.0  # seconds until C code ends the whole process


def _tell(fd: int, **event: object) -> None:
    line = json.dumps(event).encode() + b"\n"
    while line:
        line = line[os.write(fd, line) :]


@contextmanager
def _step(fd: int, worker: int, module: str) -> Iterator[None]:
    _tell(fd, begin=module, worker=worker)
    try:
        yield
    finally:
        _tell(fd, end=module, worker=worker)


def _watch_extensions(fd: int, worker: int) -> None:
    """Report which extension module is being loaded or executed: crashes happen there."""
    create: Callable[..., Any] = ExtensionFileLoader.create_module
    execute: Callable[..., Any] = ExtensionFileLoader.exec_module

    def create_module(self: ExtensionFileLoader, spec: Any) -> Any:
        with _step(fd, worker, spec.name):
            return create(self, spec)

    def exec_module(self: ExtensionFileLoader, module: Any) -> None:
        with _step(fd, worker, module.__name__):
            execute(self, module)

    ExtensionFileLoader.create_module = create_module  # type: ignore[method-assign]
    ExtensionFileLoader.exec_module = exec_module  # type: ignore[method-assign]


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as problem:
        return f"(cannot be shown: {type(problem).__qualname__})"


def _without_own_frames(error: BaseException) -> str:
    tb = error.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename in (__file__, importlib.__file__):
        tb = tb.tb_next
    return "".join(traceback.format_exception(type(error), error, tb))


def _refusal(error: BaseException) -> str | None:
    """Return the message of the `owngil.IsolationError` that an error is, or is caused by."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        if isinstance(following, owngil.IsolationError):
            return str(following)
        seen.append(following)
        following = following.__cause__ or following.__context__
    return None


def _import(fd: int, worker: int, modules: list[str], failed: list[str]) -> list[dict[str, Any]]:
    """Import modules, except those inside packages that failed; return the failures."""
    failures = []
    for module in modules:
        if any(module.startswith(f"{package}.") for package in failed):
            continue
        try:
            with _step(fd, worker, module):
                importlib.import_module(module)
        except BaseException as error:
            failures.append(
                {"module": module, "error": type_name(type(error)), "message": _message(error),
                 "refused": _refusal(error), "traceback": _without_own_frames(error)}
            )  # fmt: skip
    return failures


def _shared_modules(private: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the extension modules that should be private copies and are not; there should be none."""
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if isinstance(spec, ModuleSpec) and isinstance(spec.loader, ExtensionFileLoader):
            path = os.path.realpath(spec.loader.path)
            if path not in private and report.gets_private_copy(name, path):
                yield {"name": name, "path": path, "phase": None, "loaded": "shared"}


def _import_all(fd: int, worker: int, imports: list[str], extensions: list[str]) -> dict[str, Any]:
    """Import a package's modules in this interpreter; return the failures, what was loaded, and the seconds."""
    _watch_extensions(fd, worker)
    began = time.perf_counter()
    failures = _import(fd, worker, imports, [])
    failures += _import(fd, worker, extensions, [failure["module"] for failure in failures])
    seconds = time.perf_counter() - began
    private = [
        {"name": module.name, "path": module.path, "phase": module.phase, "loaded": "private"}
        for module in report.loaded_modules()
    ]
    return {
        "failures": failures,
        "seconds": seconds,
        "extension_modules": [*private, *_shared_modules({module["path"] for module in private})],
        "libraries": [
            {"path": library.path, "private": library.private, "reason": library.reason}
            for library in report.loaded_libraries()
        ],
    }  # fmt: skip


def _pss() -> int | None:
    """Return the proportional set size of this process in bytes."""
    try:
        with open("/proc/self/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return None


class _Workers:
    """Workers with a deadline."""

    def __init__(self, fd: int, timeout: float) -> None:
        self._fd = fd
        self._deadline = time.monotonic() + timeout
        self._all: list[owngil.Interpreter] = []
        self._threads: list[int] = []

    def start(self) -> int:
        self._all.append(owngil.Interpreter(f"worker {len(self._all) + 1}"))
        self._threads.append(self._all[-1].call(threading.get_ident))
        number = len(self._all)
        _tell(self._fd, worker=number, thread=self._threads[-1])
        return number

    def run(self, numbers: list[int], fn: Callable[..., Any], *args: Any) -> list[Any]:
        """Call ``fn(fd, number, *args)`` in workers at once. At the deadline, dump their stacks and end the process."""
        futures: list[Future[Any]] = [self._all[number - 1].submit(fn, self._fd, number, *args) for number in numbers]
        wait(futures, max(0.0, self._deadline - time.monotonic()))
        late = [number for number, future in zip(numbers, futures, strict=True) if not future.done()]
        if late:
            for number in late:
                # faulthandler's own timer would show only the threads of the main interpreter.
                signal.pthread_kill(self._threads[number - 1], signal.SIGUSR1)
                time.sleep(0.1)  # there is no event for the end of the thread's writing
            _tell(self._fd, hung=late)
            os._exit(HUNG)
        return [future.result() for future in futures]

    def close(self) -> None:
        for worker in self._all:
            worker.close()
        _tell(self._fd, living=libraries_with_threads())


def _in_workers(fd: int, count: int, timeout: float, imports: list[str], extensions: list[str]) -> None:
    _tell(fd, phase="start")
    workers = _Workers(fd, timeout)
    numbers = [workers.start() for _ in range(count)]
    _tell(fd, phase="import")
    _tell(fd, workers=workers.run(numbers, _import_all, imports, extensions))
    _tell(fd, phase="memory")
    number = workers.start()
    workers.run([number], _import, [], [])  # imports this module there
    before = _pss()
    (failures,) = workers.run([number], _import, imports, [])
    imported = _pss()
    workers.run([number], _import, extensions, [failure["module"] for failure in failures])
    everything = _pss()
    if before is not None and imported is not None and everything is not None:
        _tell(fd, memory_import=imported - before, memory_all=everything - before)
    _tell(fd, phase="close")
    workers.close()


def main(request: dict[str, Any]) -> None:
    """Do what the parent process asks for; see `examine`."""
    fd, stacks, timeout = request["report"], request["stacks"], request["timeout"]
    for descriptor in (fd, stacks):
        os.set_inheritable(descriptor, False)  # processes that packages start must not keep the pipe open
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    faulthandler.enable(file=stacks)
    faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=False)
    imports, extensions, count = request["imports"], request["extensions"], request["workers"]
    faulthandler.dump_traceback_later(timeout + (_GRACE if count else 0), exit=True, file=stacks)
    if count:
        _in_workers(fd, count, timeout, imports, extensions)
    else:
        _tell(fd, phase="import")
        _watch_extensions(fd, 0)
        failures = _import(fd, 0, imports, [])
        failures += _import(fd, 0, extensions, [failure["module"] for failure in failures])
        _tell(fd, workers=[{"failures": failures}])
    _tell(fd, phase="exit")
