"""What was loaded in this interpreter, and how: what ``owngil doctor`` shows."""

from owngil._isolation import copies, import_hook, policy
from owngil._isolation.copies import Library
from owngil._isolation.import_hook import LoadedModule

__all__ = ["gets_private_copy", "loaded_libraries", "loaded_modules"]


def loaded_modules() -> list[LoadedModule]:
    """Return the extension modules, but for the standard library's, that this worker has loaded, in that order."""
    return [module for module in import_hook.loaded_modules if not policy.is_stdlib(module.path)]


def loaded_libraries() -> list[Library]:
    """Return what was decided about the libraries that this worker's private copies need, in that order."""
    return list(copies.libraries.values())


def gets_private_copy(name: str, path: str) -> bool:
    """Return whether `name` in the file `path` (a real path) is a package's module, of which workers get copies."""
    return policy.is_private(name, path) and not policy.is_stdlib(path)
