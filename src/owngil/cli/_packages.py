"""What ``owngil doctor`` imports for a package: its modules, found without importing anything."""

import functools
import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.metadata import Distribution, distributions, packages_distributions
from importlib.util import find_spec
from pathlib import PurePath

from owngil.cli._errors import InputError

__all__ = ["Installed", "Package"]

# What doctor looks at when nothing is named, as far as it is installed.
_SCIENTIFIC = (
    "numpy", "scipy", "pandas", "matplotlib", "scikit-learn", "scikit-image", "statsmodels", "sympy", "polars",
    "pyarrow", "numba", "numexpr", "h5py", "netCDF4", "tables", "zarr", "xarray", "dask", "networkx", "pillow",
    "opencv-python", "opencv-python-headless", "shapely", "pyproj", "rasterio", "astropy", "lxml", "orjson", "msgpack",
    "pydantic", "torch", "jax", "tensorflow", "xgboost", "lightgbm", "catboost",
)  # fmt: skip
_TESTS = {"test", "tests", "testing"}


@dataclass(frozen=True)
class Package:
    """What is examined together.

    Attributes
    ----------
    name : str
        Of the distribution, or the import name if that was asked for.
    version : str or None
        None if no distribution has it.
    imports : tuple of str
        Modules to import first.
    extensions : tuple of str
        The extension modules that it has on disk, without those of its tests.
    folders : tuple of str
        Real paths of its folders and files: what lies in there is its own.
    """

    name: str
    version: str | None
    imports: tuple[str, ...]
    extensions: tuple[str, ...]
    folders: tuple[str, ...]


def _normalized(name: str) -> str:
    """Return a distribution's name as the package index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _spec(name: str) -> ModuleSpec | None:
    """Return the spec of a module without importing its parents."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
        for part in rest:
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = PathFinder.find_spec(f"{spec.name}.{part}", list(spec.submodule_search_locations))
    except (ImportError, ValueError, AttributeError):  # modules without a spec, such as __main__; finders that fail
        return None
    return spec


def _has_init(path: str, name: str) -> bool:
    """Return whether the file is an extension module: others have such names too, such as libraries for ctypes."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"PyInit_" + name.encode() + b"\0") >= 0
    except (OSError, ValueError):  # unreadable, or empty
        return False


def _extension_modules(package: str, folder: str) -> Iterator[tuple[str, str]]:
    """Yield name and path of the extension modules in a package's folder."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name.isidentifier() and name not in _TESTS)
        inner = os.path.relpath(root, folder)
        prefix = package if inner == "." else f"{package}.{inner.replace(os.sep, '.')}"
        for file in sorted(files):
            suffix = next((suffix for suffix in EXTENSION_SUFFIXES if file.endswith(suffix)), None)
            name = "" if suffix is None else file.removesuffix(suffix)
            path = os.path.join(root, file)
            if name.isidentifier() and name != "__init__" and _has_init(path, name):
                yield f"{prefix}.{name}", path


def _inside_namespace(top: str, files: Iterable[PurePath]) -> list[str]:
    """Return the outermost modules that files make in a namespace package."""
    modules = set()
    for file in files:
        parts = file.parts
        if parts[0] == top and file.suffix == ".py" and all(part.isidentifier() for part in parts[:-1]):
            module = parts[:-1] if file.name == "__init__.py" else (*parts[:-1], file.stem)
            if len(module) > 1 and not any(part.startswith("_") or part in _TESTS for part in module):
                modules.add(module)
    outermost = [
        module for module in modules if not any(module[:length] in modules for length in range(1, len(module)))
    ]
    return [".".join(module) for module in sorted(outermost)]


def _package(name: str, version: str | None, modules: Iterable[str], distribution: Distribution | None) -> Package:
    imports: list[str] = []
    extensions: list[str] = []
    folders: list[str] = []
    for module in modules:
        spec = _spec(module)
        if spec is None:
            continue
        inside = list(spec.submodule_search_locations or ())
        if spec.origin is None and distribution is not None:  # a namespace: other distributions are in there too
            parts = _inside_namespace(module, distribution.files or ())
            part = _package(name, version, parts, None)
            imports += part.imports
            extensions += part.extensions
            folders += part.folders
            continue
        imports.append(module)
        folders += [os.path.realpath(path) for path in inside or [spec.origin or ""]]
        for folder in inside:
            extensions += [extension for extension, _ in _extension_modules(module, folder)]
    return Package(name, version, tuple(imports), tuple(dict.fromkeys(extensions)), tuple(folders))


class Installed:
    """What is installed, as it was when first asked."""

    @functools.cached_property
    def _distributions(self) -> dict[str, Distribution]:
        """Distributions by normalized name; the first on sys.path wins, as it does for imports."""
        found: dict[str, Distribution] = {}
        for distribution in distributions():
            name = distribution.metadata["Name"]
            if name:  # a broken installation has none
                found.setdefault(_normalized(name), distribution)
        return found

    @functools.cached_property
    def _owners(self) -> Mapping[str, list[str]]:
        """Distributions of each top-level module."""
        return packages_distributions()

    @functools.cached_property
    def _modules(self) -> dict[str, list[str]]:
        """Top-level modules of each distribution, by normalized name."""
        found: dict[str, list[str]] = {}
        for module, names in sorted(self._owners.items()):
            for name in {_normalized(name) for name in names if name}:
                found.setdefault(name, []).append(module)
        return found

    def _of_distribution(self, distribution: Distribution) -> Package:
        name = distribution.metadata["Name"]
        modules = [module for module in self._modules.get(_normalized(name), ()) if module.isidentifier()]
        public = [module for module in modules if not module.startswith("_") and module not in _TESTS]
        return _package(name, distribution.version, public or modules, distribution)

    def find(self, name: str) -> Package:
        """Return the package of a distribution's name or of an import name.

        Raises
        ------
        InputError
            If nothing of that name is installed, or it has no modules.
        """
        distribution = self._distributions.get(_normalized(name))
        if distribution is not None:
            package = self._of_distribution(distribution)
            if package.imports:
                return package
        if name and all(part.isidentifier() for part in name.split(".")) and _spec(name) is not None:
            owners = [self._distributions.get(_normalized(owner)) for owner in self._owners.get(name.split(".")[0], ())]
            return _package(name, owners[0].version if owners and owners[0] else None, [name], None)
        if distribution is not None:
            raise InputError(f"{name} has no modules to import")
        raise InputError(f"no distribution or module {name!r} is installed here")

    def scientific(self) -> list[Package]:
        """Return those of a list of well-known packages that are installed."""
        found = (self._distributions.get(_normalized(name)) for name in _SCIENTIFIC)
        return [self._of_distribution(distribution) for distribution in found if distribution is not None]

    def everything(self) -> list[Package]:
        """Return all that is installed and has modules, except owngil."""
        packages = [
            self._of_distribution(distribution)
            for name, distribution in sorted(self._distributions.items())
            if name != "owngil"
        ]
        return [package for package in packages if package.imports]
