"""The import hook: takes over importlib's ExtensionFileLoader in a worker's interpreter.

That class is where all ways to import an extension module meet: path finders, the finders of editable installs,
spec_from_file_location. Each interpreter has an importlib of its own, so this touches no other.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from types import ModuleType

from owngil import _core
from owngil._errors import IsolationError
from owngil.isolation import _policy

__all__ = ["install"]

_create_shared = ExtensionFileLoader.create_module
_exec_shared = ExtensionFileLoader.exec_module


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


def _create(self: ExtensionFileLoader, spec: ModuleSpec) -> ModuleType:
    path = spec.origin if spec.origin is not None else self.path
    real = os.path.realpath(path)
    if not _policy.is_private(spec.name, real):
        try:
            return _create_shared(self, spec)
        except ImportError as error:
            if "subinterpreter" not in str(error):
                raise
            raise IsolationError(
                f"{spec.name} cannot be imported in a worker: Python's own module does not support"
                " sub-interpreters. Use it in the main interpreter.",
                name=spec.name,
                path=path,
            ) from None
    made = _core.create_private(os.fsencode(real), _symbol(spec.name), spec)
    if isinstance(made, str):
        raise IsolationError(
            f"{spec.name} cannot be loaded in a worker: no private copy of {path} can be made, because {made}",
            name=spec.name,
            path=path,
        )
    module, unfinished = made
    if not unfinished:
        _adopt(module, spec, path)
    self._owngil_unfinished = unfinished  # type: ignore[attr-defined]
    return module


def _exec(self: ExtensionFileLoader, module: ModuleType) -> None:
    unfinished = getattr(self, "_owngil_unfinished", None)
    if unfinished is None:
        _exec_shared(self, module)
    elif unfinished:
        _core.exec_private(module)


class _Refusals:
    """A finder that finds nothing, and stops the imports that the policy refuses."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        reason = _policy.refusal(name)
        if reason is not None and PathFinder.find_spec(name, path) is not None:
            raise IsolationError(f"{name} cannot be imported in a worker: {reason}", name=name)


def install() -> None:
    """Take over the loading of extension modules in the calling worker's interpreter."""
    ExtensionFileLoader.create_module = _create  # type: ignore[method-assign]
    ExtensionFileLoader.exec_module = _exec  # type: ignore[method-assign]
    sys.meta_path.insert(0, _Refusals)  # type: ignore[arg-type]
    # NumPy cannot know that its statics are private here.
    warnings.filterwarnings("ignore", "NumPy was imported from a Python sub-interpreter", UserWarning)
