"""Limits the threads that BLAS and OpenMP start in each worker to its share of the cores.

All interpreters share the libraries of BLAS and OpenMP. OpenBLAS, MKL and BLIS have one number of threads for the
process; OpenMP has one for each thread that calls it, so each worker sets its own. When a worker loads such a library,
it sets the number to its share of the cores. It does not change a number that the user has set, by the environment or
threadpoolctl: that is any but the library's default. When the last worker of the process has ended, the process-wide
numbers are restored.
"""

import contextlib
import os
from typing import Any

from owngil import _core
from owngil._isolation import environment

__all__ = ["limit", "restore", "set_pool_size"]

# The libraries that threadpoolctl supports, by the beginning of their names.
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
_seen: set[str] = set()  # paths of the libraries that this worker has limited


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
    # Leave out what another worker has limited: threadpoolctl takes half a megabyte, with its imports.
    new = {path for path in new if not 0 < _limit_of(path) <= share}
    # An import must not fail because of a number of threads: a library may be another than its name says.
    with contextlib.suppress(Exception):
        if new:
            _limit(new, share)


def _limit_of(path: str) -> int:
    """Return the number of threads that a worker has set for the whole process, or 0: a process note of the core."""
    return _core.get_process_note(os.fsencode(path)) & 0xFFFF


def _limit(new: set[str], share: int) -> None:
    import threadpoolctl

    for library in threadpoolctl.ThreadpoolController().lib_controllers:
        path = os.path.realpath(library.filepath)
        if path in new and not any(map(environment.had, _VARIABLES.get(library.internal_api, ()))):
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
    note = _core.get_process_note(key)  # the number before, and in the lower 16 bits the number that a worker has set
    if current == (note & 0xFFFF if note else cores_of_affinity()):
        _core.set_process_note(key, (note >> 16 if note else current) << 16 | share)
        _set_number(library, share)


class _BetweenForks:
    """A library of ctypes in which no fork happens while a function sets the number of threads.

    OpenBLAS ends its threads in a handler before a fork, and starts them again when the number is set. If a thread set
    it between the handler and the fork, the child would wait for threads that it does not have when it exits (since
    glibc 2.42).
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
    # Since 3.8 threadpoolctl lets only the first thread set OpenBLAS's number. Let a thread of the user set it, too.
    release = getattr(library, "clear_controlling_thread", None)
    if release is not None:
        release()


def restore() -> None:
    """Restore the numbers that workers have set for the whole process. Called when the last worker has ended."""
    notes = _core.take_process_notes()
    if not notes:
        return
    with contextlib.suppress(Exception):  # as in limit()
        import threadpoolctl

        for library in threadpoolctl.ThreadpoolController().lib_controllers:
            note = notes.get(os.fsencode(os.path.realpath(library.filepath)))
            if note is not None and library.num_threads == note & 0xFFFF:
                _set_number(library, note >> 16)
