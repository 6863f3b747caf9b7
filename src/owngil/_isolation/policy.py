"""Which extension modules and libraries get a private copy, and which are shared. Tables list what deviates.

The rule: CPython itself decides about modules of the standard library, and since 3.12 refuses those that interpreters
cannot share. Every other module gets a private copy, whatever it declares. (Some modules declare that they support a
GIL per interpreter, and yet cache another module's C API pointer in a C static: 29 in SciPy 1.18.)
"""

import importlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NoReturn

from owngil import _core
from owngil._isolation import environment

__all__ = [
    "ADAPTED",
    "HARMLESS_BUILTINS",
    "IMPORT_FIRST",
    "REFUSED",
    "STDLIB_REFUSED",
    "SYSTEM_LIBRARIES",
    "check_interpreter",
    "is_always_shared",
    "is_beside",
    "is_private",
    "is_stdlib",
    "library_rule",
    "prepare_main",
    "refusal",
]

_VERSION = sys.version_info[:2]

# Modules of the standard library that CPython refuses in interpreters with a GIL of their own, and why. CPython's check
# is off in a worker: it would refuse private copies too. So owngil refuses these by name, in a file or built in. (Since
# 3.13, CPython runs the init function of a single-phase module in the main interpreter before it refuses the module,
# and that leaves pointers into the worker.) tests/isolation/test_stdlib_modules.py compares the table with CPython.
_PROCESS_STATE = "it has state for the whole process"
STDLIB_REFUSED: dict[str, str] = {
    "_curses": "the terminal belongs to the process",
    "_curses_panel": "the terminal belongs to the process",
    "_tkinter": "Tcl belongs to the thread and the interpreter that load it first",
    "readline": "the terminal belongs to the process",
    # Python's own tests use these.
    "_testbuffer": _PROCESS_STATE,
    "_testclinic": _PROCESS_STATE,
    "_testimportmultiple": _PROCESS_STATE,
    "_testsinglephase": _PROCESS_STATE,
    "_xxtestfuzz": _PROCESS_STATE,
    "xxlimited_35": _PROCESS_STATE,
}
if _VERSION < (3, 15):
    STDLIB_REFUSED |= dict.fromkeys(["_testcapi"], _PROCESS_STATE)
if _VERSION >= (3, 13):
    STDLIB_REFUSED |= dict.fromkeys(
        ["_suggestions", "_testclinic_limited", "_testlimitedcapi", "_tracemalloc"], _PROCESS_STATE
    )

# Modules of the standard library that need a private copy, by version.
_PRIVATE_STDLIB: frozenset[str] = frozenset({"_ctypes"})
# Modules that the main interpreter must import before the first worker starts. Their first import leaves objects in C
# statics; if these belong to a worker, closing the worker crashes. In 3.13, datetime's types are shared by all
# interpreters, and take their version tags from the process's counter even when that is exhausted (type_versions.h).
IMPORT_FIRST: tuple[str, ...] = ()
if _VERSION == (3, 12):
    # These are single-phase modules (gh-117398, gh-103092), which CPython refuses in sub-interpreters. _zoneinfo keeps
    # a pointer to _datetime's C API in a C static, and with private copies each interpreter has another _datetime.
    _PRIVATE_STDLIB |= {"_datetime", "_decimal", "_elementtree", "_lsprof", "_pickle", "_zoneinfo", "pyexpat"}
    IMPORT_FIRST = ("datetime", "hashlib", "secrets")
    # If they are built in, there is no library to copy. CPython does not refuse _pickle.
    STDLIB_REFUSED |= dict.fromkeys(["nis", "ossaudiodev", *(_PRIVATE_STDLIB - {"_pickle"})], _PROCESS_STATE)
elif _VERSION == (3, 13):
    IMPORT_FIRST = ("datetime",)
    STDLIB_REFUSED["_testexternalinspection"] = _PROCESS_STATE


def _without_process_state(faulthandler: ModuleType) -> None:
    """Disable the functions of faulthandler that keep a file, which is an object, for the whole process."""

    def do_nothing(*args: object, **kwargs: object) -> None:
        """Do nothing: faulthandler is the whole process's; call this in the main interpreter."""

    for name in ("enable", "disable", "register", "unregister", "dump_traceback_later", "cancel_dump_traceback_later"):
        if hasattr(faulthandler, name):
            setattr(faulthandler, name, do_nothing)


def _refuse(module: ModuleType, names: Sequence[str], reason: str) -> None:
    """Replace functions of a module by functions that raise RuntimeError with this reason."""

    def refusal(name: str) -> Callable[..., NoReturn]:
        def refuse(*args: object, **kwargs: object) -> NoReturn:
            worker = threading.current_thread().name
            raise RuntimeError(f"{module.__name__}.{name}() in worker '{worker}': {reason}")

        refuse.__name__ = refuse.__qualname__ = name
        refuse.__doc__ = f"Raise RuntimeError: {reason}."
        return refuse

    for name in names:
        if hasattr(module, name):
            setattr(module, name, refusal(name))


def _without_trampolines(sys: ModuleType) -> None:
    """Refuse the trampolines for perf: the process has one memory and one number for those of all interpreters."""
    reason = "the trampolines for perf belong to the process; call it in the main interpreter, which alone gets them"
    _refuse(sys, ("activate_stack_trampoline", "deactivate_stack_trampoline"), reason)


def _without_syslog(syslog: ModuleType) -> None:
    """Refuse syslog(), which uses a str of the main interpreter, the name of the program, and changes its count."""
    reason = "its state belongs to the main interpreter; use logging, whose records owngil takes there"
    _refuse(syslog, ("syslog",), reason)


def _without_setlocale(_locale: Any) -> None:
    """Let setlocale() only tell the locale: other interpreters read the C library's data while it changes them."""
    setlocale: Callable[..., str] = _locale.setlocale

    def tell_locale(category: int, locale: str | None = None, /) -> str:
        """Return the locale of the process, and raise locale.Error if another one is asked for."""
        present = setlocale(category)
        if locale is not None and locale != present:
            raise _locale.Error(
                f"a worker cannot change the locale, which is the whole process's, from {present!r} to {locale!r}: call"
                " locale.setlocale() in the main interpreter, before workers run"
            )
        return present

    _locale.setlocale = tell_locale


# Built-in modules that CPython refuses in sub-interpreters, and that are safe there when `ADAPTED` has adapted them.
# Packages import them at the top (joblib does).
HARMLESS_BUILTINS = ("faulthandler",)
# Modules of the standard library with functions that use the state of the process without a lock, because CPython
# relies on one GIL for it; and the function that makes each module safe in a worker.
ADAPTED: dict[str, Callable[[ModuleType], None]] = {
    "faulthandler": _without_process_state,
    "sys": _without_trampolines,
    "syslog": _without_syslog,
    "_locale": _without_setlocale,
    "posix": environment.adapt_posix,
    "_posixsubprocess": environment.adapt_subprocesses,
    "time": environment.adapt_time,
    **dict.fromkeys(("_socket", "grp", "pwd", "spwd"), _core.guard_lookups),
}

# Libraries that all interpreters share, by name, and why. They are made for many threads at once, hold no Python
# objects, call no functions of the modules, and have threads or caches that a process should have once. `library_rule`
# says what happens to other libraries that a private copy needs.
SHARED_LIBRARIES: dict[str, str] = {
    "libpython": "it is Python itself",
    "libopenblasp": "OpenBLAS has one set of threads for the process, and is safe to call from many",
    "libopenblas": "OpenBLAS has one set of threads for the process, and is safe to call from many",
    "libscipy_openblas": "OpenBLAS has one set of threads for the process, and is safe to call from many",
    "libmkl": "MKL has one set of threads for the process, and is safe to call from many",
    "libblas": "BLAS keeps no state of its callers",
    "libcblas": "BLAS keeps no state of its callers",
    "liblapack": "LAPACK keeps no state of its callers",
    "libgomp": "the OpenMP runtime has one set of threads for each thread that calls it",
    "libomp": "the OpenMP runtime has one set of threads for each thread that calls it",
    "libiomp": "the OpenMP runtime has one set of threads for each thread that calls it",
    "libtbb": "TBB has one set of threads for the process, and is safe to call from many",
    "libgfortran": "the Fortran runtime locks its own state",
    "libquadmath": "it has no state",
    "libstdc++": "the C++ runtime must be one in a process: exceptions and locales pass through it",
    "libgcc_s": "the unwinder must be one in a process",
    "libc": "the C library must be one in a process",
    "libcrypto": "OpenSSL locks its own state, and stays loaded until the process ends",
    "libssl": "OpenSSL locks its own state, and stays loaded until the process ends",
}
# Libraries that always get a private copy, also where they are the system's: they are not safe to call from two threads
# at once. On HDF5's default build see https://support.hdfgroup.org/documentation (thread safety); each binding of it
# locks only its own calls.
UNSAFE_LIBRARIES: dict[str, str] = {
    "libhdf5": "HDF5 is not thread-safe, and a binding in one interpreter does not lock out those in others",
    "libnetcdf": "netCDF is not thread-safe, and a binding in one interpreter does not lock out those in others",
    "libLLVM": "LLVM has options and registries for the whole process",
}
# Libraries of the system, by the beginning of their names. They are ignored, in whatever folder they are.
SYSTEM_LIBRARIES = ("ld-linux", "libc.so", "libdl.so", "libgcc_s.so", "libm.so", "libpthread.so", "librt.so",
                    "libstdc++.so", "libutil.so")  # fmt: skip

# Packages that cannot work in more than one interpreter of a process, and why.
REFUSED: dict[str, str] = {}
_INSTEAD = "Use it in the main interpreter, or in a process of its own."

# The folders of the standard library and of its extension modules. (sysconfig would take 300 KB of each worker.)
_STDLIB = tuple(
    {
        os.path.realpath(folder) + os.sep
        for folder in [os.path.dirname(os.__file__), *sys.path]
        if folder == os.path.dirname(os.__file__) or os.path.basename(folder) == "lib-dynload"
    }
)
_SITE = ("site-packages", "dist-packages")


def refusal(name: str) -> str | None:
    """Return why the module `name` must not be imported in a worker, or None."""
    reason = REFUSED.get(name.partition(".")[0])
    return None if reason is None else f"{reason}. {_INSTEAD}"


def is_stdlib(path: str) -> bool:
    """Return whether the file `path` (a real path) belongs to the standard library."""
    return path.startswith(_STDLIB) and not any(part in _SITE for part in path.split(os.sep))


def is_private(name: str, path: str) -> bool:
    """Return whether the extension module `name` in the file `path` (a real path) gets a private copy."""
    if name == "owngil._core":  # interpreters communicate through its C statics
        return False
    return name in _PRIVATE_STDLIB if is_stdlib(path) else True


_SYSTEM_FOLDERS = ("/lib/", "/lib64/", "/lib32/", "/usr/lib/", "/usr/lib64/", "/usr/lib32/", "/usr/local/lib/")


def is_beside(path: str) -> bool:
    """Return whether the library in the file `path` (a real path) belongs to packages, and not to the system."""
    return not path.startswith(_SYSTEM_FOLDERS) or any(part in _SITE for part in path.split(os.sep))


def _is_called(name: str, library: str) -> bool:
    """Return whether a file of this name is the library, of whatever version, variant and hash."""
    rest = name[len(library) :]
    return name.startswith(library) and not rest[:1].isalpha()


def is_always_shared(name: str) -> bool:
    """Return whether the library whose file has this name is one of `SHARED_LIBRARIES`."""
    return any(_is_called(name, library) for library in SHARED_LIBRARIES)


def library_rule(name: str, *, beside: bool, uses_python: bool, state: int, pinned: bool) -> tuple[bool, str]:
    """Return whether a library that modules need gets a private copy, and why.

    Parameters
    ----------
    name : str
        Of its file.
    beside : bool
        Whether it was found through the search path of what needs it, or by path, and not where the system has its
        libraries.
    uses_python : bool
        Whether it takes symbols from Python's C API.
    state : int
        Bytes of its variables.
    pinned : bool
        Whether it asks the dynamic loader never to unload it.
    """
    for library, reason in SHARED_LIBRARIES.items():
        if _is_called(name, library):
            return False, reason
    for library, reason in UNSAFE_LIBRARIES.items():
        if _is_called(name, library):
            return True, reason
    if uses_python:
        return True, "it uses Python's C API, so it may hold Python objects"
    if not beside:
        return False, "it is the system's"
    if pinned:
        return False, "it asks never to be unloaded, so it is made to be one in a process"
    if state == 0:
        return False, "it has no variables"
    return True, "it has variables, and nothing says that it is safe to call from two interpreters"


_prepared = False
# Whether this interpreter is one of owngil's, and not one of concurrent.interpreters, or of C code.
_IS_OURS = _core.in_main_interpreter() or _core.in_worker()


def check_interpreter() -> None:
    """Raise RuntimeError if this interpreter must not start workers.

    What `prepare_main` does for the whole process can be done in the main interpreter only, and it must come first.
    Isolated interpreters could not have the threads that collect results, either.
    """
    if not _IS_OURS:
        raise RuntimeError(
            "owngil cannot start workers in this interpreter: only the main interpreter and owngil's own workers can,"
            " and this one was made by concurrent.interpreters or by an application that embeds Python."
        )


def prepare_main() -> None:
    """Prepare this interpreter for the start of workers. Only the first call does anything."""
    global _prepared
    if not _prepared:
        for name in IMPORT_FIRST:
            importlib.import_module(name)
        if _core.in_main_interpreter():
            _core.protect_immortals()
            _core.end_shared_type_versions()
        _prepared = True
