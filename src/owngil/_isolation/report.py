"""Makes extension modules work in interpreters that have a GIL of their own.

CPython loads a shared library once for the whole process. Most extension modules keep state in C statics, so two
interpreters that run in parallel would corrupt it. Here each interpreter gets a private copy of each such library.
"""

from owngil.isolation import _libraries, _loader, _policy
from owngil.isolation._cores import usable_cores
from owngil.isolation._libraries import Library
from owngil.isolation._loader import LoadedModule, install, uninstall
from owngil.isolation._policy import prepare_main
from owngil.isolation._threads import restore as restore_threads
from owngil.isolation._threads import set_pool_size

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
    """Return the extension modules, but for the standard library's, that this worker has loaded, in that order."""
    return [module for module in _loader.loaded_modules if not _policy.is_stdlib(module.path)]


def loaded_libraries() -> list[Library]:
    """Return what was decided about the libraries that this worker's private copies need, in that order."""
    return list(_libraries.libraries.values())


def gets_private_copy(name: str, path: str) -> bool:
    """Return whether `name` in the file `path` (a real path) is a package's module, of which workers get copies."""
    return _policy.is_private(name, path) and not _policy.is_stdlib(path)
