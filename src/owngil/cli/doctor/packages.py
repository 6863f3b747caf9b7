"""What ``owngil doctor`` imports for a package: its modules, found without importing anything."""

import mmap
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec, PathFinder
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from importlib.util import find_spec
from inspect import getmodulename
from pathlib import PurePath

from owngil.cli.errors import InputError

__all__ = ["Package", "find_package", "installed_packages", "scientific_packages"]

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


def _extensions_inside_namespace(top: str, owner: Distribution) -> Iterator[str]:
    """Yield the extension modules that a distribution has in a namespace package, whatever folders they are in."""
    for file in owner.files or ():
        suffix = next((suffix for suffix in EXTENSION_SUFFIXES if file.name.endswith(suffix)), None)
        parts = (*file.parts[:-1], file.name.removesuffix(suffix or ""))
        if suffix is None or parts[0] != top or not _TESTS.isdisjoint(parts):
            continue
        if all(part.isidentifier() for part in parts) and _has_init(str(owner.locate_file(file)), parts[-1]):
            yield ".".join(parts)


def _package(
    name: str,
    version: str | None,
    modules: Iterable[str],
    owner: Distribution | None,
    hidden: Collection[str] = (),
) -> Package:
    """Return the package with these modules, of those that are `hidden` only the extension modules."""
    imports: list[str] = []
    extensions: list[str] = []
    folders: list[str] = []
    for module in modules:
        spec = _spec(module)
        if spec is None:
            continue
        inside = list(spec.submodule_search_locations or ())
        if spec.origin is None and owner is not None:  # a namespace: other distributions are in there too
            parts = _inside_namespace(module, owner.files or ())
            part = _package(name, version, parts, None)
            imports += part.imports
            extensions += [*part.extensions, *_extensions_inside_namespace(module, owner)]
            folders += part.folders
            continue
        if module in hidden:
            if isinstance(spec.loader, ExtensionFileLoader):
                extensions.append(module)
        else:
            imports.append(module)
        folders += [os.path.realpath(path) for path in inside or [spec.origin or ""]]
        for folder in inside:
            extensions += [extension for extension, _ in _extension_modules(module, folder)]
    return Package(name, version, tuple(imports), tuple(dict.fromkeys(extensions)), tuple(folders))


def _top_levels(owner: Distribution) -> list[str]:
    """Return the top-level modules of a distribution, as packages_distributions() has them, which reads all others."""
    declared = (owner.read_text("top_level.txt") or "").split()
    inferred = (
        file.parts[0] if len(file.parts) > 1 else getmodulename(file.name) or ""
        for file in owner.files or ()
        if getmodulename(file.name) is not None
    )
    return sorted({name for name in declared or inferred if name.isidentifier() and name not in _TESTS})


def _from_distribution(found: Distribution) -> Package:
    modules = _top_levels(found)
    private = {module for module in modules if module.startswith("_")}
    hidden = private if private < set(modules) else ()
    return _package(found.metadata["Name"], found.version, modules, found, hidden)


def _owner(module: str) -> Distribution | None:
    """Return the distribution of a top-level module: one that is installed in the same folder."""
    spec = _spec(module)
    if spec is None:
        return None
    inside = list(spec.submodule_search_locations or ())
    folder = os.path.dirname(inside[0] if inside else spec.origin or "")
    return next((found for found in distributions(path=[folder]) if module in _top_levels(found)), None)


def _find_distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except (PackageNotFoundError, ValueError):  # the latter for an empty name
        return None


def find_package(name: str) -> Package:
    """Return the package of a distribution's name or of an import name.

    Raises
    ------
    InputError
        If nothing of that name is installed, or it has no modules.
    """
    found = _find_distribution(name)
    if found is not None:
        package = _from_distribution(found)
        if package.imports:
            return package
    parts = name.split(".")
    if all(part.isidentifier() for part in parts) and _spec(name) is not None:
        owner = _owner(parts[0])
        return _package(name, owner.version if owner else None, [name], None)
    if found is not None:
        raise InputError(f"{name} has no modules to import")
    raise InputError(f"no distribution or module {name!r} is installed here")


def scientific_packages() -> list[Package]:
    """Return those of a list of well-known packages that are installed."""
    return [_from_distribution(found) for name in _SCIENTIFIC if (found := _find_distribution(name)) is not None]


def installed_packages() -> list[Package]:
    """Return everything that is installed and has modules, except owngil, by name."""
    found: dict[str, Distribution] = {}
    for each in distributions():
        name = each.metadata["Name"]
        if name:  # a broken installation has none
            # The first on sys.path wins, as it does for imports.
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), each)
    packages = [_from_distribution(each) for name, each in sorted(found.items()) if name != "owngil"]
    return [package for package in packages if package.imports]
