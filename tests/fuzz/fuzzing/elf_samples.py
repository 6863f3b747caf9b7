"""The sound libraries that the ELF programs damage: small ones of many kinds, and some that people use."""

import importlib.util
import struct
from pathlib import Path
from typing import NamedTuple

__all__ = ["Sample", "real", "small"]

SOURCE = Path(__file__).parent / "elf_module.c"
E_SHOFF, E_SHNUM, E_SHSTRNDX = 40, 60, 62  # offsets in the ELF header


class Sample(NamedTuple):
    name: str
    kind: str  # what loaded.answer_of() is to ask it
    path: Path  # of the sound file
    module: Path  # what is to be imported: `path`, or a module that needs it


_LINKING = {
    "plain": [],
    "sysv": ["-Wl,--hash-style=sysv"],
    "both": ["-Wl,--hash-style=both"],
    "no_plt": ["-fno-plt"],
    "now": ["-Wl,-z,now"],
    "lazy": ["-Wl,-z,lazy", "-Wl,-z,norelro"],
    "relr": ["-Wl,-z,pack-relative-relocs"],
    "few": ["-Wl,-z,noseparate-code"],
    "stripped": ["-Wl,-s"],
    "no_delete": ["-Wl,-z,nodelete"],
    "single": ["-DSINGLE_PHASE"],
    "far": ["-DFAR", "-Wl,--section-start=far_code=0x200000", "-Wl,--section-start=far_data=0x400000"],
    "no_sections": [],
}


def _without_sections(data: bytes) -> bytes:
    """Return the file without its table of section headers, which no loader needs."""
    changed = bytearray(data)
    struct.pack_into("<Q", changed, E_SHOFF, 0)
    struct.pack_into("<HH", changed, E_SHNUM, 0, 0)
    return bytes(changed)


def small(folder: Path) -> list[Sample]:
    """Build the small modules in `folder`, and two that need a private library, one of them damaged through that."""
    from extensions import libraries

    samples = []
    for name, options in _LINKING.items():
        path = libraries.compile_c(folder / f"{name}.so", SOURCE, f"-DNAME={name}", *options)
        if name == "no_sections":
            path.write_bytes(_without_sections(path.read_bytes()))
        samples.append(Sample(name, "answer", path, path))
    script = folder / "versions"
    script.write_text("ONE { global: *; };\n")
    inner = libraries.library(folder / "libinner.so", "inner", f"-Wl,--version-script={script}")
    search = "-Wl,--enable-new-dtags,-rpath,$ORIGIN:$ORIGIN/../.."
    outer = libraries.compile_c(
        folder / "outer.so", SOURCE, "-DNAME=outer", "-DLIBRARY=inner", search, str(inner)
    )  # fmt: skip
    return [*samples, Sample("outer", "answer", outer, outer), Sample("inner", "answer", inner, outer)]


def _origin(name: str) -> Path | None:
    """Return the file of an extension module without importing its package, or None if it has no file."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None or not spec.has_location:
        return None
    if not rest:
        return Path(spec.origin)
    return next(Path(spec.origin).parent.joinpath(*rest[:-1]).glob(f"{rest[-1]}.*.so"), None)


_REAL = {
    "numpy": "numpy._core._multiarray_umath",
    "zeros": "scipy.optimize._zeros",
    "moduleTNC": "scipy.optimize._moduleTNC",
    "zlib": "zlib",
    "bisect": "_bisect",
}


def real() -> list[Sample]:
    """Return samples from the standard library, NumPy and SciPy."""
    found = [(kind, _origin(name)) for kind, name in _REAL.items()]
    return [Sample(path.name.partition(".")[0], kind, path, path) for kind, path in found if path is not None]
