"""Lets ctypes open private copies, of the libraries that interpreters must not share.

ctypes.CDLL and its kin all open libraries through one function of the extension module _ctypes.
"""

import os
import sys
from types import ModuleType
from typing import Any

from owngil import _core
from owngil._errors import IsolationError
from owngil._isolation import copies

__all__ = ["install"]


def install(module: ModuleType) -> None:
    """Replace the functions that open and close libraries in this interpreter's `_ctypes`."""
    private: set[int] = set()

    def dlopen(name: Any, flags: int = os.RTLD_NOW, /) -> int:
        """Open a library, as ctypes' own function does; a private one gets this interpreter's copy.

        Not by ctypes' own function: forks wait for owngil's.
        """
        if name:
            path = os.fsdecode(name)
            try:
                copy = copies.find_private(path)
            except copies.LoadError as error:
                # An OSError, as ctypes raises, cannot be an IsolationError: packages look for the former.
                raise OSError(
                    f"{path} cannot be loaded in a worker: no private copy can be made, because {error}"
                ) from (IsolationError(str(error), path=path))
            if copy is not None:
                private.add(copy.handle)
                return copy.handle
        sys.audit("ctypes.dlopen", name)
        opened = _core.open_library(None if name is None else os.fsencode(name), flags | os.RTLD_NOW)
        if isinstance(opened, str):
            raise OSError(opened)
        return opened[0]

    def dlclose(handle: int) -> None:
        """Close a library; a private copy goes with the interpreter."""
        problem = None if handle in private else _core.close_library(handle)
        if problem is not None:
            raise OSError(problem)

    module.dlopen = dlopen  # type: ignore[attr-defined]
    module.dlclose = dlclose  # type: ignore[attr-defined]
