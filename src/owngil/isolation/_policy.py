"""Which extension modules get a private copy, which are shared, and which are refused: all exceptions are tables here.

The rule: what belongs to the standard library is CPython's own affair, which since 3.12 refuses what it cannot share;
everything else gets a private copy, whatever it declares. (Some modules declare that they support a GIL per interpreter
while they cache another module's C API pointer in a C static: 29 in SciPy 1.18.)
"""

import importlib
import os
import sys
import sysconfig

__all__ = ["IMPORT_FIRST", "REFUSED", "is_private", "prepare_main", "refusal"]

_VERSION = sys.version_info[:2]

# Modules of the standard library that need a private copy, by version.
_PRIVATE_STDLIB: frozenset[str] = frozenset()
# Modules that the main interpreter must have imported before the first worker starts: else closing a worker crashes,
# because what their first import leaves in C statics then belongs to the worker.
IMPORT_FIRST: tuple[str, ...] = ()
if _VERSION == (3, 12):
    # Single-phase (gh-117398, gh-103092), so refused in sub-interpreters, or else shared.
    _PRIVATE_STDLIB = frozenset({"_ctypes", "_datetime", "_decimal", "_elementtree", "_lsprof", "_pickle", "pyexpat"})
    IMPORT_FIRST = ("datetime", "hashlib", "secrets")
elif _VERSION == (3, 13):
    IMPORT_FIRST = ("datetime",)

# Packages that crash, or cannot load, in more than one interpreter of a process, and why.
_NOT_YET = "Call it in the main interpreter, or in a process of its own."
REFUSED: dict[str, str] = {
    "h5py": "the HDF5 library in its wheel is not thread-safe, and each copy of h5py would lock only itself",
    "llvmlite": "its LLVM library has global state that two interpreters would corrupt when both compile",
    "netCDF4": "the HDF5 library in its wheel is not thread-safe, and each copy of netCDF4 would lock only itself",
    "pyarrow": "its library libarrow_python holds Python objects and would be shared between interpreters",
    "tables": "the HDF5 library in its wheel is not thread-safe, and each copy of PyTables would lock only itself",
}

_STDLIB = tuple(
    {os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib")}
    | {os.path.realpath(directory) + os.sep for directory in [sysconfig.get_config_var("DESTSHARED")] if directory}
)
_SITE = ("site-packages", "dist-packages")


def refusal(name: str) -> str | None:
    """Return why the module `name` must not be imported in a worker, or None."""
    reason = REFUSED.get(name.partition(".")[0])
    return None if reason is None else f"{reason}. {_NOT_YET}"


def is_private(name: str, path: str) -> bool:
    """Return whether the extension module `name` in the file `path` (a real path) gets a private copy."""
    if name == "owngil._core":  # its C statics are what interpreters have in common
        return False
    if path.startswith(_STDLIB) and not any(part in _SITE for part in path.split(os.sep)):
        return name in _PRIVATE_STDLIB
    return True


_prepared = False


def prepare_main() -> None:
    """Import what must be imported before the first worker starts; cheap when it is done."""
    global _prepared
    if not _prepared:
        for name in IMPORT_FIRST:
            importlib.import_module(name)
        _prepared = True
