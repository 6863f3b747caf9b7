"""Gives types the versions by which CPython's caches know them, since CPython may not (type_versions.h)."""

import sys

from owngil import _core

__all__ = ["complete_type_versions"]

_known = 0  # as many modules were there the last time


def complete_type_versions() -> None:
    """Give versions to the types of what was imported since the last time; cheap when nothing was.

    A worker's import hook has given some to the types that it found in extension modules. Those that are hidden there,
    or were changed since, and all in the main interpreter, where nothing is hooked, get theirs here. Until then CPython
    does without its caches, and finds their methods a little more slowly.
    """
    global _known
    count = len(sys.modules)
    if count != _known:
        _core.give_type_versions()
        _known = count
