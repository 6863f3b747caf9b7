"""Makes functions of the standard library safe that walk or change what all interpreters use.

They do so without the GILs of the workers, and would read objects and memory that a worker frees at that moment.
"""

import importlib
import sys
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from owngil import _core

__all__ = ["forget", "protect", "protect_tracemalloc", "protect_worker", "release"]

_originals: dict[str, Callable[..., Any]] = {}  # functions of sys, by their names, while workers live
_living: set[Hashable] = set()  # the workers for which they are replaced


def _getallocatedblocks() -> int:
    """Return the number of memory blocks of all interpreters; workers stand still meanwhile."""
    count: int = _core.call_alone(_originals["getallocatedblocks"], ())
    return count


_replacements: dict[str, Callable[..., Any]] = {
    "getallocatedblocks": _getallocatedblocks,
}
if (3, 13) <= sys.version_info < (3, 14, 1):  # they walk the thread states without CPython's lock of that list
    for _name in "_setprofileallthreads", "_settraceallthreads":
        _replacements[_name] = partial(_core.call_walking, getattr(sys, _name))


def _replace() -> None:
    _core.replace_lists(True)
    for name, replacement in _replacements.items():
        present = getattr(sys, name, replacement)
        if present is not replacement:
            _originals[name] = present
            setattr(sys, name, replacement)


def _put_back() -> None:
    _core.replace_lists(False)
    for name, replacement in _replacements.items():
        original = _originals.get(name)
        if original is not None and getattr(sys, name) is replacement:
            setattr(sys, name, original)


def protect(worker: Hashable) -> None:
    """Replace the functions of this interpreter's sys, until `release` was called for each worker.

    Two of them, which profilers and debuggers call, are replaced in all interpreters.
    """
    if _core.in_main_interpreter():
        _living.add(worker)
        _replace()


def release(worker: Hashable) -> None:
    """Put the functions back if this was the last worker."""
    _living.discard(worker)
    if not _living:
        _put_back()
        if _living:  # another thread has started one meanwhile
            _replace()


def forget() -> None:
    """Put the functions back: this process is a fork, which has no workers."""
    _living.clear()
    _put_back()


def _refuse_getallocatedblocks() -> int:
    raise RuntimeError("sys.getallocatedblocks() counts the blocks of all interpreters; call it in the main one")


def protect_worker() -> None:
    """Replace the functions of a worker's sys, for ever."""
    for name, replacement in {**_replacements, "getallocatedblocks": _refuse_getallocatedblocks}.items():
        setattr(sys, name, replacement)


def protect_tracemalloc() -> None:
    """Let tracemalloc see the main interpreter's memory only, now and whenever it is started."""
    _core.trace_main_only()
    module: Any = importlib.import_module("_tracemalloc")
    start, stop = module.start, module.stop

    def start_alone(nframe: int = 1, /) -> None:
        """Start tracing the memory of the main interpreter. Workers are paused meanwhile."""
        try:
            _core.call_alone(start, (nframe,))
        except RuntimeError:
            _core.call_alone(stop, ())
            raise

    def stop_alone() -> None:
        """Stop tracing. Workers are paused meanwhile."""
        _core.call_alone(stop, ())

    for owner in (module, sys.modules.get("tracemalloc")):
        for name, original, replacement in (("start", start, start_alone), ("stop", stop, stop_alone)):
            if getattr(owner, name, None) is original:
                setattr(owner, name, replacement)
