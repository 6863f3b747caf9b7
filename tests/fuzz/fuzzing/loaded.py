"""Imports a library as a module and asks it something; and a server of processes that do so.

    python loaded.py plain|owngil

reads lines of JSON: an object with kind, name, path, output, errors and seconds. It forks a process for each, which
imports the module in that file, in its main interpreter or in a worker of owngil. The process writes what came of it
into the file `output`: whether the module was loaded, and the answer or the exception. It answers with a line: how the
process ended.
"""

import importlib.machinery
import importlib.util
import json
import os
import resource
import select
import signal
import sys
from types import ModuleType
from typing import Any

__all__ = ["import_and_ask"]


def _import(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class _Finder:
    """Finds one module in another file."""

    def __init__(self, name: str, path: str) -> None:
        self._name, self._path = name, path

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        return importlib.util.spec_from_file_location(name, self._path) if name == self._name else None


def _numpy(path: str) -> ModuleType:
    sys.meta_path.insert(0, _Finder("numpy._core._multiarray_umath", path))
    import numpy

    return numpy


def _answer_of(kind: str, module: Any) -> object:
    if kind == "answer":
        return module.answer(), module.answer()
    if kind == "numpy":
        return module.arange(10).sum(), module.sqrt(module.linspace(0, 1, 5)).tolist(), str(module.zeros(2, "i2,f4"))
    if kind == "zlib":
        return module.decompress(module.compress(b"x" * 1000)), module.crc32(b"abc")
    if kind == "bisect":
        return module.bisect_left([1, 2, 3, 4], 3), module.bisect_right([1, 2], 0)
    if kind == "zeros":
        return module._bisect(lambda x: x - 0.25, 0.0, 1.0, 1e-9, 1e-9, 100, (), False, True)
    return sorted(vars(module))


def import_and_ask(kind: str, name: str, path: str) -> tuple[str, str]:
    """Return "loaded" and the answer; or "refused" and the exception."""
    try:
        module = _numpy(path) if kind == "numpy" else _import(name, path)
    except Exception as error:
        return "refused", f"{type(error).__name__}: {error}"
    try:
        return "loaded", repr(_answer_of(kind, module))
    except Exception as error:
        return "loaded", f"{type(error).__name__}: {error}"


def _import_in_worker(kind: str, name: str, path: str) -> tuple[str, str]:
    import owngil

    with owngil.Interpreter() as interpreter:
        return interpreter.call(import_and_ask, kind, name, path)


def _begin(order: dict[str, Any]) -> None:
    """Prepare a forked process."""
    with open(order["errors"], "wb") as errors:
        os.dup2(errors.fileno(), 2)
        os.dup2(errors.fileno(), 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _wait(child: int, seconds: float) -> str:
    """Wait for a process and return how it ended."""
    watched = os.pidfd_open(child)
    try:
        hangs = not select.select([watched], [], [], seconds)[0]
    finally:
        os.close(watched)
    if hangs:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "hangs" if hangs else "ended" if code == 0 else f"exit code {code}"


def serve(way: str) -> None:
    """Fork a process for each line on stdin. Only the forked processes return from here, and end as programs do."""
    load = _import_in_worker if way == "owngil" else import_and_ask
    if way == "owngil":
        import owngil  # noqa: F401 - once for all processes
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _begin(order)
            answer = load(order["kind"], order["name"], order["path"])
            with open(order["output"], "w") as output:
                json.dump(answer, output)
            return
        print(_wait(child, order["seconds"]), flush=True)


if __name__ == "__main__":
    # A worker imports this file as a module, not as __main__, whose functions would travel by value.
    from fuzzing import loaded

    loaded.serve(sys.argv[1])
