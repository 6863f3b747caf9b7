"""Keeps BLAS and OpenMP from starting as many threads in each worker as there are cores.

Their libraries are shared by all interpreters. OpenBLAS, MKL and BLIS have one number of threads for the process;
OpenMP has one for each thread that calls it, so each worker sets its own. When a worker has loaded such a library, the
number becomes the worker's share of the cores. A number that is not the library's default was set by the user, through
the environment or threadpoolctl, and stays; so does what is set later. When the process's last worker has ended, the
process-wide numbers are again what they were.
"""

import contextlib
import os
from typing import Any

from owngil import _core

__all__ = ["limit", "restore", "set_pool_size"]

# The libraries that threadpoolctl knows, by the beginning of their names.
_PREFIXES = ("libopenblas", "libscipy_openblas", "libblas", "libmkl_rt", "libblis", "libflexiblas", "libgomp", "libomp",
             "libiomp")  # fmt: skip
_VARIABLES = {
    "openblas": ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"),
    "mkl": ("MKL_NUM_THREADS", "OMP_NUM_THREADS"),
    "blis": ("BLIS_NUM_THREADS", "OMP_NUM_THREADS"),
    "flexiblas": ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"),
    "openmp": ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT"),
}

_pool_size = 1
_seen: set[str] = set()  # paths of the libraries whose number this worker has settled


def set_pool_size(size: int) -> None:
    """Tell this worker how many workers its pool may have."""
    global _pool_size
    _pool_size = size


def limit(paths: list[str]) -> None:
    """Give this worker its share of the threads of those libraries that are BLAS or OpenMP."""
    from owngil._isolation.cores import cores_of_affinity, usable_cores  # many workers load no such library

    new = {path for path in paths if os.path.basename(path).startswith(_PREFIXES)} - _seen
    share = max(1, usable_cores() // max(_pool_size, _core.count_workers()))
    if not new or share >= cores_of_affinity():
        return
    _seen.update(new)
    # threadpoolctl is half a megabyte with what it imports: not for what another worker has settled.
    new = {path for path in new if not 0 < _settled(path) <= share}
    # No number of threads is a reason to fail an import: libraries may be other than their names say.
    with contextlib.suppress(Exception):
        if new:
            _limit(new, share)


def _settled(path: str) -> int:
    """Return the number of threads that a worker has set for the whole process, or 0."""
    return _core.get_note(os.fsencode(path)) & 0xFFFF


def _limit(new: set[str], share: int) -> None:
    import threadpoolctl

    for library in threadpoolctl.ThreadpoolController().lib_controllers:
        path = os.path.realpath(library.filepath)
        if path in new and not any(name in os.environ for name in _VARIABLES.get(library.internal_api, ())):
            _set(library, path, share)


def _set(library: Any, path: str, share: int) -> None:
    current: int = library.num_threads
    if current <= share:
        return
    if library.internal_api == "openmp":
        _set_number(library, share)
        return
    from owngil._isolation.cores import cores_of_affinity

    key = os.fsencode(path)
    note = _core.get_note(key)  # what it was, and in the lower 16 bits what we set
    if current == (note & 0xFFFF if note else cores_of_affinity()):
        _core.set_note(key, (note >> 16 if note else current) << 16 | share)
        _set_number(library, share)


class _BetweenForks:
    """A library of ctypes whose functions that set the number of threads are called so that no fork catches them.

    OpenBLAS ends its threads by a handler before a fork, and starts them again when the number is set. If that came
    between the handler and the fork, the child would take threads for its own that it has not, and at its exit wait for
    them (since glibc 2.42).
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Any:
        import ctypes

        function = getattr(self._library, name)
        if "set_num_threads" not in name.lower():
            return function
        address = ctypes.cast(function, ctypes.c_void_p).value or 0
        return lambda number: _core.set_threads(address, number)


def _set_number(library: Any, number: int) -> None:
    opened = library.dynlib
    library.dynlib = _BetweenForks(opened)
    try:
        library.set_num_threads(number)
    finally:
        library.dynlib = opened
    # Since 3.8 threadpoolctl lets only one thread at a time set OpenBLAS's number. The next may be the user's.
    release = getattr(library, "clear_controlling_thread", None)
    if release is not None:
        release()


def restore() -> None:
    """Undo what workers set for the whole process; for the main interpreter, when the last worker has ended."""
    notes = _core.take_notes()
    if not notes:
        return
    with contextlib.suppress(Exception):  # as above
        import threadpoolctl

        for library in threadpoolctl.ThreadpoolController().lib_controllers:
            note = notes.get(os.fsencode(os.path.realpath(library.filepath)))
            if note is not None and library.num_threads == note & 0xFFFF:
                _set_number(library, note >> 16)
