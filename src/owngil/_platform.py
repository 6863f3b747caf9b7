"""Says in one clear sentence at import why owngil cannot work on this platform."""

import os
import sys

__all__ = ["check"]


def _has_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, OSError, ValueError):  # not on this system
        return False


def check() -> None:
    """Raise ImportError unless this is CPython 3.12 or newer, with a GIL, on Linux with glibc."""
    problem = None
    if sys.implementation.name != "cpython" or sys.version_info < (3, 12):
        problem = "CPython 3.12 or newer"
    elif "t" in sys.abiflags:
        problem = "a CPython with a GIL to own, not a free-threaded build, where plain threads run in parallel"
    elif sys.platform != "linux" or not _has_glibc():
        problem = "Linux with glibc"
    if problem is not None:
        import platform  # and with it much that no worker needs

        this = f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"
        raise ImportError(f"owngil needs {problem}; this is {this}")
