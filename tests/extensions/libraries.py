"""Build small libraries, and modules that need them, laid out as wheels are.

A library `libNAME.so` has the function NAME_bump(): it adds one to a static variable and returns it, or without
variables calls the same function of the first library that it needs, or returns 7. A module that needs it has

    bump()       NAME_bump()
    address()    the address of NAME_bump
    path()       the file that dladdr() names for NAME_bump
"""

from collections.abc import Sequence
from pathlib import Path

from extensions import build

__all__ = ["compile_c", "compile_cxx", "library", "module"]

HERE = Path(__file__).parent
ORIGIN_LIBS = "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../{package}.libs"


def compile_c(output: Path, source: Path, *options: str) -> Path:
    """Compile one source file of C, with Python's headers, into a shared library; return `output`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    build.compile_shared(output, source, list(options), cxx=False)
    return output


def compile_cxx(output: Path, source: Path, *options: str) -> Path:
    """Compile one source file of C++ in the same way."""
    build.compile_shared(output, source, list(options), cxx=True)
    return output


def library(
    path: Path,
    name: str,
    *options: str,
    state: int | None = 4096,
    needs: Sequence[str] = (),
    linked: Sequence[Path] = (),
    soname: bool = True,
) -> Path:
    """Build the library `name` at `path`.

    Parameters
    ----------
    path : Path
        Of the file.
    name : str
        Prefix of its function.
    *options : str
        More options of the compiler.
    state : int or None
        Size of its variables besides the counter, in bytes; None: no variables.
    needs : sequence of str
        Names of the libraries whose functions it calls.
    linked : sequence of Path
        Their files.
    soname : bool
        Whether it has a SONAME.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    defines = [f"-DNAME={name}"]
    defines += [f"-DSTATE={state}"] if state is not None else []
    defines += [f"-DNEEDS={needs[0]}"] if needs else []
    names = [f"-Wl,-soname,{path.name}"] if soname else []
    return compile_c(path, HERE / "library.c", *defines, *names, *options, *map(str, linked))


def module(package: Path, name: str, library: str, linked: Sequence[Path], *options: str) -> Path:
    """Build the module `name` in the folder `package`, which calls the function of `library`."""
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    search = [] if any("rpath" in option for option in options) else [ORIGIN_LIBS.format(package=package.name)]
    return compile_c(
        package / f"{name}{build.SUFFIX}",
        HERE / "linked.c",
        f"-DNAME={name}",
        f"-DLIBRARY={library}",
        *search,
        *options,
        *map(str, linked),
    )
