"""References of private copies to functions that owngil has too: all are redirected, or the copy is refused."""

import os
import platform
from pathlib import Path

import pytest
from extensions import libraries

import owngil

SOURCE = Path(__file__).parents[1] / "extensions" / "quiet.c"
OPTIONS = ["-fvisibility=hidden", "-Wl,-soname,libquiet.so"]


def load(path):
    import ctypes
    import sys

    ctypes.CDLL(path)
    return sys.quiet


def files_of_references(path):
    with owngil.Interpreter() as it:
        return [os.path.basename(file) for file in it.call(load, str(path))]


@pytest.mark.parametrize("lazy", ["now", "lazy"])
@pytest.mark.parametrize("hash_style", ["gnu", "sysv", "both"])
def test_a_library_without_exports(tmp_path, hash_style, lazy):
    path = tmp_path / "libquiet.so"
    libraries.compile_c(path, SOURCE, *OPTIONS, f"-Wl,--hash-style={hash_style}", f"-Wl,-z,{lazy}")
    assert files_of_references(path) == ["shim.lib"] * 3


def test_a_library_that_exports_a_redirected_name(tmp_path):
    """The dynamic loader prefers Python's function to the library's own; so the copy gets owngil's."""
    path = libraries.compile_c(tmp_path / "libquiet.so", SOURCE, *OPTIONS, "-DEXPORT_CHECK")
    assert files_of_references(path) == ["shim.lib"] * 3


def test_a_library_that_is_linked_to_its_own_function(tmp_path):
    path = libraries.compile_c(tmp_path / "libquiet.so", SOURCE, *OPTIONS, "-DEXPORT_CHECK", "-Wl,-Bsymbolic")
    assert files_of_references(path)[2] == "libquiet.so"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("ADDEND", "its relocation has an addend"),
        pytest.param(
            "SIZE",
            "its relocation is of a type that owngil does not know",
            marks=pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has such a relocation"),
        ),
    ],
)
def test_a_reference_that_cannot_be_redirected(tmp_path, kind, reason):
    path = libraries.compile_c(tmp_path / "libquiet.so", SOURCE, *OPTIONS, f"-D{kind}")
    with owngil.Interpreter() as it:
        for _ in range(2):
            with pytest.raises(OSError, match=f"its reference to PyGILState_Check cannot be redirected: {reason}"):
                it.call(load, str(path))
        assert it.call(abs, -1) == 1


def ring(folder, **options):
    """Build two libraries that need each other, and return the path of one."""
    source, search = SOURCE.with_name("ring.c"), "-Wl,-rpath,$ORIGIN"
    left, right = folder / "libleft.so", folder / "libright.so"
    for path, other in [(right, []), (left, [right]), (right, [left])]:
        name = path.stem.removeprefix("lib")
        names = [f"-DNAME={name}", f"-DOTHER={'left' if name == 'right' else 'right'}", f"-Wl,-soname,{path.name}"]
        libraries.compile_c(path, source, *names, search, *options.get(name, []), *map(str, other))
    return str(left)


def load_ring(path):
    import ctypes
    import sys

    try:
        ctypes.CDLL(path)
        problem = None
    except OSError as error:
        problem = str(error)
    return problem, [getattr(sys, name, None) for name in ("left", "right")]


def test_constructors_of_a_circle_run_when_all_its_references_are_redirected(tmp_path):
    path = ring(tmp_path)
    with owngil.Interpreter() as it:
        problem, files = it.call(load_ring, path)
    assert problem is None
    assert [os.path.basename(file) for file in files] == ["shim.lib"] * 2


@pytest.mark.parametrize("member", ["left", "right"])
def test_no_constructor_of_a_circle_runs_when_a_reference_cannot_be_redirected(tmp_path, member):
    path = ring(tmp_path, **{member: ["-DADDEND"]})
    with owngil.Interpreter() as it:
        for _ in range(2):
            problem, files = it.call(load_ring, path)
            assert "its reference to PyGILState_Check cannot be redirected: its relocation has an addend" in problem
            assert files == [None, None]
