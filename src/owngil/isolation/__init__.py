"""Makes extension modules work in interpreters that have a GIL of their own.

CPython loads a shared library once for the whole process. Most extension modules keep state in C statics, so two
interpreters that run in parallel would corrupt it. Here each interpreter gets a private copy of each such library.
"""

from owngil.isolation import _libraries, _loader, _policy
from owngil.isolation._libraries import Library
from owngil.isolation._loader import LoadedModule, install, uninstall
from owngil.isolation._policy import prepare_main
from owngil.isolation._threads import restore as restore_threads
from owngil.isolation._threads import set_pool_size, usable_cores

__all__ = [
    "Library",
    "LoadedModule",
    "gets_private_copy",
    "install",
    "loaded_libraries",
    "loaded_modules",
    "prepare_main",
    "restore_threads",
    "set_pool_size",
    "uninstall",
    "usable_cores",
]


def loaded_modules() -> list[LoadedModule]:
    """Return the extension modules that this worker has loaded from private copies, in that order."""
    return list(_loader.loaded_modules)


def loaded_libraries() -> list[Library]:
    """Return what was decided about the libraries that this worker's private copies need, in that order."""
    return list(_libraries.libraries.values())


def gets_private_copy(name: str, path: str) -> bool:
    """Return whether workers get a private copy of the extension module `name` in the file `path` (a real path)."""
    return _policy.is_private(name, path)
