"""Gives a worker environment variables of its own, which the subprocesses that it starts get.

The C library's setenv() changes memory that other threads read without a lock: getenv(), and every start of a
subprocess. So a worker never calls it. It keeps its variables in a dict, and Python's functions use that dict here
in place of the C library's environment.
"""

import errno
import importlib
import os
import sys
from types import ModuleType
from typing import Any

__all__ = ["adapt_posix", "adapt_subprocesses", "adapt_time", "had", "replace_environment", "variables"]

_own: dict[bytes, bytes] = {}
_first: dict[bytes, bytes] = {}  # what this interpreter started with: C code has no other


def _data() -> dict[bytes, bytes]:
    """Return the dict of os.environ and os.environb."""
    return os.environb._data  # type: ignore[attr-defined,no-any-return]


def variables() -> dict[bytes, bytes]:
    """Return a copy of os.environb that is whole, whatever other threads do."""
    return dict(_data())


def replace_environment(start: dict[bytes, bytes]) -> None:
    """Let this worker's environment be `start`."""
    for environment in (_first, _own, _data()):
        environment.clear()
        environment.update(start)


def had(name: str) -> bool:
    """Return whether this worker has had the variable since it started, so that C code can see it."""
    return os.fsencode(name) in _first


def _checked(*texts: Any) -> tuple[bytes, ...]:
    encoded = tuple(map(os.fsencode, texts))
    if any(b"\0" in text for text in encoded):
        raise ValueError("embedded null byte")
    if not encoded[0]:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return encoded


def adapt_posix(posix: ModuleType) -> None:
    """Let functions of os and posix use this worker's environment."""
    original: Any = {name: getattr(posix, name) for name in ("posix_spawn", "posix_spawnp") if hasattr(posix, name)}

    def putenv(name: Any, value: Any, /) -> None:
        """Change or add an environment variable of this worker."""
        key, text = _checked(name, value)
        if b"=" in key:
            raise ValueError("illegal environment variable name")
        sys.audit("os.putenv", key, text)
        _own[key] = text

    def unsetenv(name: Any, /) -> None:
        """Delete an environment variable of this worker."""
        (key,) = _checked(name)
        if b"=" in key:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sys.audit("os.unsetenv", key)
        _own.pop(key, None)

    def _create_environ() -> dict[bytes, bytes]:
        return dict(_own)

    def posix_spawn(path: Any, argv: Any, env: Any = None, /, **options: Any) -> int:
        """Execute the program specified by path in a new process, by default with this worker's environment."""
        return original["posix_spawn"](path, argv, dict(_own) if env is None else env, **options)  # type: ignore[no-any-return]

    def posix_spawnp(path: Any, argv: Any, env: Any = None, /, **options: Any) -> int:
        """Do as posix_spawn() does, with a program that is searched for in PATH."""
        return original["posix_spawnp"](path, argv, dict(_own) if env is None else env, **options)  # type: ignore[no-any-return]

    def system(command: Any) -> int:
        """Execute the command in a subshell with this worker's environment, and return its wait status."""
        text = os.fsencode(command)
        sys.audit("os.system", text)
        # C code calls both functions, so no interrupt comes between: the child is waited for.
        child = map(original["posix_spawn"], ["/bin/sh"], [["sh", "-c", text]], [dict(_own)])
        status: int = next(map(os.waitpid, child, [0]))[1]
        return status

    for module in (importlib.import_module("os"), posix):
        for function in (putenv, unsetenv, _create_environ, posix_spawn, posix_spawnp, system):
            if hasattr(module, function.__name__):
                setattr(module, function.__name__, function)
    replace_environment(variables())


def adapt_subprocesses(_posixsubprocess: Any) -> None:
    """Let subprocess and multiprocessing hand on this worker's environment if they are given none."""
    original = _posixsubprocess.fork_exec

    def fork_exec(args: Any, executables: Any, close_fds: Any, pass_fds: Any, cwd: Any, env: Any, /, *rest: Any) -> int:
        """Start a subprocess."""
        if env is None:
            env = [name + b"=" + value for name, value in dict(_own).items()]
        return original(args, executables, close_fds, pass_fds, cwd, env, *rest)  # type: ignore[no-any-return]

    _posixsubprocess.fork_exec = fork_exec


def adapt_time(time: Any) -> None:
    """Let tzset() raise an error if this worker has another TZ than it started with, which C code does not see."""
    original = time.tzset

    def tzset() -> None:
        """Read the time zone of the process again."""
        if _own.get(b"TZ") != _first.get(b"TZ"):
            raise RuntimeError(
                "a worker cannot change the time zone, which is the whole process's: set TZ and call time.tzset() in"
                " the main interpreter, before workers start"
            )
        original()

    time.tzset = tzset
