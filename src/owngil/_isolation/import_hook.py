"""The import hook: takes over importlib's ExtensionFileLoader in a worker's interpreter.

That class is where all ways to import an extension module meet: path finders, the finders of editable installs,
spec_from_file_location. Each interpreter has an importlib of its own, so this touches no other.
"""

import _imp
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import BuiltinImporter, ExtensionFileLoader, ModuleSpec, PathFinder
from types import ModuleType
from typing import NamedTuple

from owngil import _core
from owngil._errors import IsolationError
from owngil._isolation import copies, policy

__all__ = ["LoadedModule", "install", "loaded_modules", "uninstall"]

# CPython's own switch, for its tests: 1 lets it refuse modules that do not support sub-interpreters, -1 does not, 0
# leaves it to the interpreter's configuration. Returns what was set before.
_override_check: Callable[[int], int] = _imp._override_multi_interp_extensions_check  # type: ignore[attr-defined]

_create_shared = ExtensionFileLoader.create_module
_exec_shared = ExtensionFileLoader.exec_module
_create_builtin = BuiltinImporter.create_module
_exec_builtin = BuiltinImporter.exec_module


class LoadedModule(NamedTuple):
    """An extension module from a private copy."""

    name: str
    path: str
    phase: str  # "multi-phase" or "single-phase"


loaded_modules: list[LoadedModule] = []

# NumPy's C API, in NumPy 2 and before.
_NUMPY = ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath")


class _SinglePhase:
    """A single-phase module as its init function left it: that function must not run twice.

    CPython keeps such a copy of the module's names too, and fills a new module with it at the next import.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._names = dict(vars(module))

    def again(self, name: str) -> ModuleType:
        module = sys.modules.get(name)
        if module is None:
            module = ModuleType(name)
        vars(module).update(self._names)
        return module


_single_phase: dict[tuple[str, str], _SinglePhase] = {}
# What an interrupt came upon before it was there.
_begun: dict[tuple[str, str], list[ModuleType]] = {}


def _symbol(name: str) -> str:
    """Return how the init symbols of the module `name` end (PEP 489)."""
    last = name.rpartition(".")[2]
    if last.isascii():
        return "_" + last
    return "U_" + last.encode("punycode").replace(b"-", b"_").decode("ascii")


def _adopt(module: ModuleType, spec: ModuleSpec, path: str) -> None:
    """Give a single-phase module what importlib gives it through a private variable of CPython's: its full name."""
    short = module.__name__
    module.__file__ = path
    if short == spec.name:
        return
    module.__name__ = spec.name
    for value in list(vars(module).values()):
        if getattr(value, "__module__", None) == short:
            try:
                value.__module__ = spec.name
            except (AttributeError, TypeError):  # static types cannot be told; their names say where they belong
                continue


def _failure(name: str, path: str, reason: str) -> IsolationError:
    return IsolationError(
        f"{name} cannot be loaded in a worker: no private copy of {path} can be made, because {reason}",
        name=name,
        path=path,
    )


def _create_private(spec: ModuleSpec, path: str, real: str) -> tuple[ModuleType, bool]:
    """Return the module from this interpreter's copy of its file, and whether it must still be executed."""
    earlier = _single_phase.get((spec.name, real))
    if earlier is not None:
        return earlier.again(spec.name), False
    try:
        copy = copies.load(real)
    except copies.LoadError as error:
        raise _failure(spec.name, path, str(error)) from None
    begun = _begun.setdefault((spec.name, real), [])
    made = (begun[0], False) if begun else _core.create_module(copy.handle, _symbol(spec.name), spec, begun)
    if isinstance(made, str):
        raise _failure(spec.name, path, made)
    module, unfinished = made
    if not unfinished:
        _adopt(module, spec, path)
        _single_phase[spec.name, real] = _SinglePhase(module)
    _begun.pop((spec.name, real), None)
    loaded_modules.append(LoadedModule(spec.name, real, "multi-phase" if unfinished else "single-phase"))
    return module, unfinished


def _create(self: ExtensionFileLoader, spec: ModuleSpec) -> ModuleType:
    path = spec.origin if spec.origin is not None else self.path
    real = os.path.realpath(path)
    if policy.is_private(spec.name, real):
        module, self._owngil_unfinished = _create_private(spec, path, real)  # type: ignore[attr-defined]
        return module
    if spec.name in policy.STDLIB_REFUSED:
        raise _unsupported(spec.name, path, policy.STDLIB_REFUSED[spec.name])
    # CPython would load it too, but a fork does not wait for CPython. If this fails, CPython says why.
    _core.open_library(os.fsencode(path if os.sep in path else real), sys.getdlopenflags())
    return _checked(_imp.create_dynamic, spec, path)


def _exec(self: ExtensionFileLoader, module: ModuleType) -> None:
    unfinished = getattr(self, "_owngil_unfinished", None)
    if unfinished is None:
        _exec_shared(self, module)
    elif unfinished:
        _core.exec_module(module)
    _core.give_type_versions(module)
    if module.__name__ == "_ctypes":
        _hook_ctypes(module)
    elif unfinished and module.__name__ in _NUMPY:
        _core.use_array_memory(module._ARRAY_API)


def _hook_ctypes(module: ModuleType) -> None:
    from owngil._isolation import ctypes_hook  # many workers do without ctypes

    ctypes_hook.install(module)


def _create_builtin_checked(spec: ModuleSpec) -> ModuleType | None:
    if spec.name in policy.HARMLESS_BUILTINS:
        return _create_builtin(spec)
    if spec.name in policy.STDLIB_REFUSED:
        raise _unsupported(spec.name, None, policy.STDLIB_REFUSED[spec.name])
    return _checked(_imp.create_builtin, spec, None)


def _exec_builtin_checked(module: ModuleType) -> None:
    _exec_builtin(module)
    _core.give_type_versions(module)
    if module.__name__ in policy.HARMLESS_BUILTINS:
        policy.HARMLESS_BUILTINS[module.__name__](module)
    if module.__name__ == "_ctypes":
        _hook_ctypes(module)


def _unsupported(name: str, path: str | None, reason: str) -> IsolationError:
    return IsolationError(
        f"{name} cannot be imported in a worker: Python's own module does not support sub-interpreters ({reason})."
        " Use it in the main interpreter.",
        name=name,
        path=path,
    )


def _checked(create: Callable[[ModuleSpec], ModuleType], spec: ModuleSpec, path: str | None) -> ModuleType:
    """Return ``create(spec)``, which makes one of Python's own modules, under CPython's check of what it supports.

    The check is off otherwise. Private modules need that not only while they are created: PyO3's, for one, make their
    submodules when they are executed, or later.
    """
    try:
        return _core.create_checked(_override_check, create, spec)
    except ImportError as error:
        if "subinterpreter" not in str(error):
            raise
        raise _unsupported(spec.name, path, "it says so itself") from None


class _Refusals:
    """A finder that finds nothing, and stops the imports that the policy refuses."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        reason = policy.refusal(name)
        if reason is not None and PathFinder.find_spec(name, path) is not None:
            raise IsolationError(f"{name} cannot be imported in a worker: {reason}", name=name)


def install() -> None:
    """Take over the loading of extension modules in the calling worker's interpreter."""
    ExtensionFileLoader.create_module = _create  # type: ignore[method-assign]
    ExtensionFileLoader.exec_module = _exec  # type: ignore[method-assign]
    BuiltinImporter.create_module = staticmethod(_create_builtin_checked)  # type: ignore[method-assign,assignment]
    BuiltinImporter.exec_module = staticmethod(_exec_builtin_checked)  # type: ignore[method-assign,assignment]
    _override_check(-1)
    sys.meta_path.insert(0, _Refusals)  # type: ignore[arg-type]
    _core.complete_type_versions()  # of the types that the interpreter began with
    # NumPy cannot know that its statics are private here.
    warnings.filterwarnings("ignore", "NumPy was imported from a Python sub-interpreter", UserWarning)


def uninstall() -> None:
    """Undo `install` at the interpreter's end, and end all imports, as CPython itself does a moment later.

    Filters of warnings with a compiled pattern go too: they live in C, past the end of their type, and CPython keeps an
    interpreter's memory for one object that is left.
    """
    ExtensionFileLoader.create_module = _create_shared  # type: ignore[method-assign]
    ExtensionFileLoader.exec_module = _exec_shared  # type: ignore[method-assign]
    BuiltinImporter.create_module = staticmethod(_create_builtin)  # type: ignore[method-assign,assignment]
    BuiltinImporter.exec_module = staticmethod(_exec_builtin)  # type: ignore[method-assign,assignment]
    _override_check(0)
    sys.meta_path = None  # type: ignore[assignment]
    warnings.filters[:] = [entry for entry in warnings.filters if entry[1] is None and entry[3] is None]  # type: ignore[index]
