"""The import hook: patches importlib's ExtensionFileLoader in a worker's interpreter.

All ways to import an extension module use that class: path finders, the finders of editable installs,
spec_from_file_location. Each interpreter has an importlib of its own, so the patch affects no other.
"""

import _imp
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import BuiltinImporter, ExtensionFileLoader, ModuleSpec, PathFinder
from types import ModuleType
from typing import NamedTuple

from owngil import _core
from owngil._errors import IsolationError
from owngil._isolation import copies, policy

__all__ = ["LoadedModule", "install", "loaded_modules", "uninstall"]

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
    """A single-phase module as its init function left it, for the next import: the function must not run twice.

    CPython does the same with such modules: it keeps a copy of the names, and fills a new module with it.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module  # kept alive: C statics of its library may refer to it
        self._names = dict(vars(module))

    def again(self, name: str) -> ModuleType:
        module = sys.modules.get(name)
        if module is None:
            module = ModuleType(name)
        vars(module).update(self._names)
        return module


_single_phase: dict[tuple[str, str], _SinglePhase] = {}
# Modules whose init function has run, but whose import an interrupt has cut short.
_begun: dict[tuple[str, str], list[ModuleType]] = {}


def _symbol(name: str) -> str:
    """Return how the init symbols of the module `name` end (PEP 489)."""
    last = name.rpartition(".")[2]
    if last.isascii():
        return "_" + last
    return "U_" + last.encode("punycode").replace(b"-", b"_").decode("ascii")


def _adopt(module: ModuleType, spec: ModuleSpec, path: str) -> None:
    """Give a single-phase module its full name, which importlib passes through a private variable of CPython."""
    short = module.__name__
    module.__file__ = path
    if short == spec.name:
        return
    for value in list(vars(module).values()):
        if getattr(value, "__module__", None) == short:
            try:
                value.__module__ = spec.name
            except (AttributeError, TypeError):  # of a static type, __module__ cannot be set; its name has it
                continue
    module.__name__ = spec.name  # last, so that the next import goes on if an interrupt ends this one


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
    _refuse_unsupported(spec.name, path)
    # Load the library before CPython does, because a fork does not wait for CPython. If this fails, CPython says why.
    _core.open_library(os.fsencode(path if os.sep in path else real), sys.getdlopenflags())
    return _create_shared(self, spec)


def _exec(self: ExtensionFileLoader, module: ModuleType) -> None:
    unfinished = getattr(self, "_owngil_unfinished", None)
    if unfinished is None:
        _exec_shared(self, module)
    elif unfinished:
        _core.exec_module(module)
    _core.give_type_versions(module)
    if unfinished is None:
        _make_safe(module)
    if module.__name__ == "_ctypes":
        _hook_ctypes(module)
    elif unfinished and module.__name__ in _NUMPY:
        _core.use_array_memory(module._ARRAY_API)


def _make_safe(module: ModuleType) -> None:
    """Make a module of Python's own safe in a worker, if it needs that."""
    adapt = policy.ADAPTED.get(module.__name__)
    if adapt is not None:
        adapt(module)


def _hook_ctypes(module: ModuleType) -> None:
    from owngil._isolation import ctypes_hook  # many workers do without ctypes

    ctypes_hook.install(module)


def _create_builtin_allowed(spec: ModuleSpec) -> ModuleType | None:
    _refuse_unsupported(spec.name, None)
    return _create_builtin(spec)


def _exec_builtin_patched(module: ModuleType) -> None:
    _exec_builtin(module)
    _core.give_type_versions(module)
    _make_safe(module)
    if module.__name__ == "_ctypes":
        _hook_ctypes(module)


def _refuse_unsupported(name: str, path: str | None) -> None:
    """Raise an error if `name` is a module of Python's own that interpreters cannot share, wherever it is from."""
    reason = policy.STDLIB_REFUSED.get(name.rpartition(".")[2])
    if reason is not None:
        raise IsolationError(
            f"{name} cannot be imported in a worker: Python's own module does not support sub-interpreters ({reason})."
            " Use it in the main interpreter.",
            name=name,
            path=path,
        )


class _Refusals:
    """A finder that finds no module, and raises an error for modules that the policy refuses."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        reason = policy.refusal(name)
        if reason is not None and PathFinder.find_spec(name, path) is not None:
            raise IsolationError(f"{name} cannot be imported in a worker: {reason}", name=name)


def install() -> None:
    """Patch the loading of extension modules in the calling worker's interpreter."""
    ExtensionFileLoader.create_module = _create  # type: ignore[method-assign]
    ExtensionFileLoader.exec_module = _exec  # type: ignore[method-assign]
    BuiltinImporter.create_module = staticmethod(_create_builtin_allowed)  # type: ignore[method-assign,assignment]
    BuiltinImporter.exec_module = staticmethod(_exec_builtin_patched)  # type: ignore[method-assign,assignment]
    for name in policy.ADAPTED:
        if name in sys.modules:  # such as sys
            _make_safe(sys.modules[name])
    # CPython's check is off from here to the end, because it would refuse private copies. Some modules (PyO3's) create
    # submodules when they are executed, or later.
    _imp._override_multi_interp_extensions_check(-1)  # type: ignore[attr-defined]
    sys.meta_path.insert(0, _Refusals)  # type: ignore[arg-type]
    _core.complete_type_versions()  # of the types that every interpreter has
    # NumPy warns of sub-interpreters, because it cannot know that its C statics are private here.
    warnings.filterwarnings("ignore", "NumPy was imported from a Python sub-interpreter", UserWarning)


def uninstall() -> None:
    """Undo `install` at the interpreter's end, and end all imports, as CPython itself does a moment later.

    Filters of warnings with a compiled pattern are removed, too: they are kept in C for longer than their type, and
    CPython keeps the memory of an interpreter for one object that is left.
    """
    ExtensionFileLoader.create_module = _create_shared  # type: ignore[method-assign]
    ExtensionFileLoader.exec_module = _exec_shared  # type: ignore[method-assign]
    BuiltinImporter.create_module = staticmethod(_create_builtin)  # type: ignore[method-assign,assignment]
    BuiltinImporter.exec_module = staticmethod(_exec_builtin)  # type: ignore[method-assign,assignment]
    sys.meta_path = None  # type: ignore[assignment]
    warnings.filters[:] = [entry for entry in warnings.filters if entry[1] is None and entry[3] is None]  # type: ignore[index]
