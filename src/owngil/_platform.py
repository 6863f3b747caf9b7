"""Says in one clear sentence at import why owngil cannot work on this platform, or with this installation."""

import importlib.util
import os
import sys

__all__ = ["check"]


def _has_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, OSError, ValueError):  # this system does not have it
        return False


def check() -> None:
    """Raise ImportError unless this is CPython 3.12 or newer, with a GIL, on Linux with glibc, and has the core."""
    problem = None
    if sys.implementation.name != "cpython" or sys.version_info < (3, 12):
        problem = "CPython 3.12 or newer"
    elif "t" in sys.abiflags:
        problem = "a CPython with a GIL to own, not a free-threaded build, where plain threads run in parallel"
    elif sys.platform != "linux" or not _has_glibc():
        problem = "Linux with glibc"
    if problem is not None:
        import platform  # lazily, because it imports many modules

        this = f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"
        raise ImportError(f"owngil needs {problem}; this is {this}")
    if importlib.util.find_spec("owngil._core") is None:
        here = os.path.dirname(__file__)
        cores = sorted(name for name in os.listdir(here) if name.startswith("_core.") and name.endswith(".so"))
        raise ImportError(
            f"owngil was installed for another Python: in {here}, no _core is for {sys.implementation.cache_tag} "
            f"({', '.join(cores) or 'there is none at all'}); install it with this Python: "
            f"{sys.executable} -m pip install --force-reinstall owngil"
        )
