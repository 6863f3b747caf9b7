"""Build a test extension of every kind from the sources beside this file.

Each is a module `by_<kind>` with some of the functions of this interface:

    bump()       add one to a static variable of the extension's own code, and return it
    apply(f, x)  call the Python callable f with x from there, and return what it returns
    fail()       raise ValueError("refused") from there
    total(a)     the sum of a one-dimensional float64 NumPy array
    ended()      how many thread-local values were destroyed at the end of their thread
    draw()       the next number of the random generator in the extension's own code (Pythran has no other variables)
"""

import fcntl
import functools
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


class Missing(Exception):
    """A kind cannot be built here; the message names the missing part."""


class BuildError(Exception):
    """A command of a build failed; the message has the command and its output."""


@dataclass(frozen=True)
class Kind:
    build: Callable[[Path], None]  # builds the sources here into the folder
    offers: frozenset[str]


def build(kind: str) -> Path:
    """Return the folder with the module `by_<kind>`; the first caller in a test run builds it.

    Raises
    ------
    Missing
        If a compiler or package is not there, or does not know this Python yet.
    BuildError
        If a command fails.
    """
    return once(kind, KINDS[kind].build)


def once(key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder that `make` fills once in a test run: the processes that run tests share it.

    The folder is in OWNGIL_TEST_BUILDS, which conftest.py sets. A process that asks while another one builds waits for
    it. If `make` raises, the next caller tries again.
    """
    folder = Path(os.environ["OWNGIL_TEST_BUILDS"], hashlib.sha256(key.encode()).hexdigest()[:24])
    made = folder.with_suffix(".made")
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


def _by_hand(folder: Path, *, phases: str) -> None:
    options = ["-DSINGLE_PHASE"] if phases == "single" else []
    _compile_c(folder, f"by_hand_{phases}", [HERE / "by_hand.c"], options)


def _cython(folder: Path) -> None:
    _require_package("Cython")
    _run(sys.executable, "-m", "cython", HERE / "by_cython.pyx", "-o", folder / "by_cython.c")
    _compile_c(folder, "by_cython", [folder / "by_cython.c"])


def _pybind11(folder: Path) -> None:
    _require_package("pybind11")
    import pybind11

    _compile_cxx(folder, "by_pybind11", [HERE / "by_pybind11.cpp"], ["-O0", f"-I{pybind11.get_include()}"])


def _nanobind(folder: Path) -> None:
    _require_package("nanobind")
    import nanobind

    package = Path(nanobind.__file__).parent
    sources = [HERE / "by_nanobind.cpp", package / "src" / "nb_combined.cpp"]
    includes = [f"-I{package / 'include'}", f"-I{package / 'ext' / 'robin_map' / 'include'}"]
    _compile_cxx(folder, "by_nanobind", sources, ["-O0", *includes, "-fno-strict-aliasing", "-DNB_COMPACT_ASSERTIONS"])


def _cffi(folder: Path) -> None:
    _require_package("cffi")
    _run(sys.executable, HERE / "by_cffi_source.py", folder / "_by_cffi.c")
    _compile_c(folder, "_by_cffi", [folder / "_by_cffi.c"])
    shutil.copy(HERE / "by_cffi.py", folder)


def _f2py(folder: Path) -> None:
    _require_package("numpy")
    import numpy
    import numpy.f2py

    _run(sys.executable, "-m", "numpy.f2py", "--quiet", HERE / "by_f2py.pyf", cwd=folder)
    runtime = Path(numpy.f2py.get_include())
    sources = [folder / "by_f2pymodule.c", HERE / "by_f2py_code.c", runtime / "fortranobject.c"]
    _compile_c(folder, "by_f2py", sources, [f"-I{runtime}", f"-I{numpy.get_include()}"])


def _pythran(folder: Path) -> None:
    _require_package("pythran")
    import numpy

    _run(sys.executable, "-m", "pythran.run", "-E", HERE / "by_pythran.py", "-o", folder / "by_pythran.cpp")
    package = importlib.util.find_spec("pythran").submodule_search_locations[0]
    options = ["-DENABLE_PYTHON_MODULE", "-DPYTHRAN_BLAS_NONE", f"-I{package}", f"-I{numpy.get_include()}"]
    _compile_cxx(folder, "by_pythran", [folder / "by_pythran.cpp"], options)


def _swig(folder: Path) -> None:
    _require_package("swig")
    swig = [sys.executable, "-c", "import swig; swig.swig()"]
    _run(*swig, "-python", "-outdir", folder, "-o", folder / "by_swig.c", HERE / "by_swig.i")
    _compile_c(folder, "_by_swig", [folder / "by_swig.c"])


def _rust(folder: Path) -> None:
    rustc = _require_program("RUSTC", "rustc", "a Rust compiler")
    output = folder / f"by_rust{SUFFIX}"
    _run(*rustc, "--edition", "2021", "--crate-type", "cdylib", "-O", HERE / "by_rust.rs", "-o", output)


def _pyo3(folder: Path) -> None:
    """Build with PyO3's crates from their sources, in OWNGIL_CRATES or where Debian installs them."""
    cargo = _require_program("CARGO", "cargo", "Rust's cargo")
    crates = Path(os.environ.get("OWNGIL_CRATES", "/usr/share/cargo/registry")).resolve()
    if not any(crates.glob("pyo3-macros-backend-*")):
        raise Missing(f"PyO3's sources are not in {crates} (OWNGIL_CRATES; tools/pyo3-crates fetches them)")
    environment = {
        "CARGO_TARGET_DIR": str(folder / "target"),
        "PYO3_PYTHON": sys.executable,
        "PYO3_BUILD_EXTENSION_MODULE": "1",
    }
    if sys.version_info >= (3, 15):  # newer than this PyO3, so use the stable ABI
        environment["PYO3_USE_ABI3_FORWARD_COMPATIBILITY"] = "1"
    shutil.copytree(HERE / "by_pyo3", folder / "by_pyo3")  # Cargo writes its lock file beside Cargo.toml
    _run(
        *cargo, "build", "--offline", "--release", "--manifest-path", folder / "by_pyo3" / "Cargo.toml",
        "--config", "source.crates-io.replace-with = 'here'", "--config", f"source.here.directory = '{crates}'",
        environment=environment,
    )  # fmt: skip
    shutil.copy(folder / "target" / "release" / "libby_pyo3.so", folder / f"by_pyo3{SUFFIX}")


_ALL = frozenset({"bump", "apply", "fail", "total"})
KINDS = {
    "hand_single": Kind(functools.partial(_by_hand, phases="single"), _ALL),
    "hand_multi": Kind(functools.partial(_by_hand, phases="multi"), _ALL),
    "cython": Kind(_cython, _ALL),
    "pybind11": Kind(_pybind11, _ALL),
    "nanobind": Kind(_nanobind, _ALL),
    "cffi": Kind(_cffi, _ALL - {"fail"}),
    "f2py": Kind(_f2py, frozenset({"bump", "total"})),
    "pythran": Kind(_pythran, frozenset({"draw", "fail", "total"})),
    "swig": Kind(_swig, _ALL),
    "rust": Kind(_rust, _ALL | {"ended"}),
    "pyo3": Kind(_pyo3, _ALL - {"total"}),
}


def _compile_c(folder: Path, name: str, sources: list[Path], options: list[str] | None = None) -> None:
    _compile(_require_program("CC", "cc", "a C compiler"), folder, name, sources, options or [])


def _compile_cxx(folder: Path, name: str, sources: list[Path], options: list[str]) -> None:
    compiler = _require_program("CXX", "c++", "a C++ compiler")
    _compile(compiler, folder, name, sources, ["-std=c++17", "-fvisibility=hidden", *options])


def compile_shared(output: Path, source: Path, options: list[str], *, cxx: bool) -> None:
    """Compile one source file with Python's headers into the shared library `output`.

    The compiler runs once in a test run for the same source, options and contents of the files that options name.
    """
    variable, program, what = ("CXX", "c++", "a C++ compiler") if cxx else ("CC", "cc", "a C compiler")
    compiler = _require_program(variable, program, what)
    include = f"-I{sysconfig.get_path('include')}"

    def make(folder: Path) -> None:
        _run(*compiler, "-shared", "-fPIC", "-O1", include, source, "-o", folder / "library", *options)

    contents = [
        hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in (source, *options) if Path(file).is_file()
    ]
    shutil.copy(once(repr((compiler, options, contents)), make) / "library", output)


def _compile(compiler: list[str], folder: Path, name: str, sources: list[Path], options: list[str]) -> None:
    include = f"-I{sysconfig.get_path('include')}"
    _run(*compiler, "-shared", "-fPIC", "-O1", include, *options, *sources, "-o", folder / f"{name}{SUFFIX}")


def _require_program(variable: str, name: str, what: str) -> list[str]:
    command = shlex.split(os.environ.get(variable, name))
    if shutil.which(command[0]) is None:
        raise Missing(f"{what} ({command[0]}) is missing")
    return command


def _require_package(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise Missing(f"the Python package {name} is missing")


def _run(*command: str | Path, cwd: Path | None = None, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"{shlex.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
