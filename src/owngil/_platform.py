"""Refuses platforms that owngil cannot work on, by one clear sentence at import."""

import platform
import sys
import sysconfig

__all__ = ["check"]


def check() -> None:
    """Raise ImportError unless this is CPython 3.12 or newer, with a GIL, on Linux with glibc."""
    problem = None
    if sys.implementation.name != "cpython" or sys.version_info < (3, 12):
        problem = f"CPython 3.12 or newer; this is {platform.python_implementation()} {platform.python_version()}"
    elif sysconfig.get_config_var("Py_GIL_DISABLED"):
        problem = "a CPython with a GIL to own; this is a free-threaded build, where plain threads run in parallel"
    elif sys.platform != "linux" or "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or ""):
        problem = f"Linux with glibc; this is {platform.platform()}"
    if problem is not None:
        raise ImportError(f"owngil needs {problem}")
