"""Damaged libraries: reading one may fail with a sentence that says why, but must not crash. None is loaded."""

import mmap
import struct
from pathlib import Path

import pytest
from extensions import libraries

from owngil import _core

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

SETTINGS = hypothesis.settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
HEADER, PROGRAM_HEADER, DYNAMIC_ENTRY = 64, 56, 16
PT_DYNAMIC = 2
DT_NULL, DT_SONAME, DT_INIT_ARRAYSZ, DT_FINI_ARRAYSZ, DT_RUNPATH = 0, 14, 27, 28, 29
# Values that make offsets and sizes wrap around, or point just inside or outside of the file.
NASTY = [0, 1, 7, 8, 0xFF, 0x1000, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Give the bytes of a small library that has every part that the reader reads."""
    folder = tmp_path_factory.mktemp("damaged")
    script = folder / "versions"
    script.write_text("ONE { global: *; };\n")
    inner = libraries.library(folder / "libinner.so", "inner", f"-Wl,--version-script={script}")
    path = libraries.library(
        folder / "libwhole.so", "whole", "-DUSES_PYTHON", "-Wl,-rpath,$ORIGIN", "-Wl,-z,now", needs=["inner"],
        linked=[inner],
    )  # fmt: skip
    assert not isinstance(_core.read_library(str(path).encode()), str)
    return path.read_bytes()


def read(folder: Path, data: bytes) -> None:
    path = folder / "damaged.so"
    path.write_bytes(data)
    answer = _core.read_library(str(path).encode())
    assert isinstance(answer, str | tuple)
    if isinstance(answer, str):
        assert answer


def dynamic_entries(data: bytes) -> list[int]:
    """Return the offsets of the entries of the dynamic section."""
    start, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    headers = [struct.unpack_from("<IIQQQQ", data, start + k * PROGRAM_HEADER) for k in range(count)]
    return [place for kind, _, offset, _, _, size in headers if kind == PT_DYNAMIC
            for place in range(offset, offset + size, DYNAMIC_ENTRY)]  # fmt: skip


def places_of_interest(data: bytes) -> list[int]:
    """Return offsets of the headers, of the dynamic section, and of the tables that it points to."""
    places = list(range(HEADER))
    start, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    places += range(start, start + count * PROGRAM_HEADER)
    for k in range(count):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, start + k * PROGRAM_HEADER)
        if kind == PT_DYNAMIC:
            places += range(offset, offset + size)
            for entry in range(offset, offset + size, DYNAMIC_ENTRY):
                _, value = struct.unpack_from("<QQ", data, entry)
                if 0 < value < len(data):
                    places += range(value, min(value + 64, len(data)))
    return sorted(set(places))


@SETTINGS
@hypothesis.given(data=st.data())
def test_flipped_bytes(whole, tmp_path, data):
    places = places_of_interest(whole)
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 12))):
        damaged[data.draw(st.sampled_from(places))] ^= data.draw(st.integers(1, 255))
    read(tmp_path, bytes(damaged))


@SETTINGS
@hypothesis.given(data=st.data())
def test_numbers_out_of_range(whole, tmp_path, data):
    words = sorted({place // 8 * 8 for place in places_of_interest(whole) if place >= 16})
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        number = data.draw(st.sampled_from(NASTY) | st.integers(0, 2**64 - 1) | st.integers(0, 2 * len(whole)))
        struct.pack_into("<Q", damaged, data.draw(st.sampled_from(words)), number)
    read(tmp_path, bytes(damaged))


@SETTINGS
@hypothesis.given(data=st.data())
def test_truncated_files(whole, tmp_path, data):
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3)) if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    read(tmp_path, bytes(damaged))


@pytest.mark.parametrize("size", [0, 1, 15, 63, 64, 65, mmap.PAGESIZE - 1, mmap.PAGESIZE, mmap.PAGESIZE + 1])
def test_sizes_around_a_page(whole, tmp_path, size):
    read(tmp_path, whole[:size])


def test_files_that_are_no_libraries(tmp_path):
    assert _core.read_library(b"/nowhere/at/all.so") == "it cannot be read: No such file or directory"
    for path in (tmp_path, Path("/dev/null")):
        assert isinstance(_core.read_library(str(path).encode()), str)
    read(tmp_path, b"\x7fELF" + bytes(1000))
    with pytest.raises(ValueError, match="null byte"):
        _core.read_library(b"a\0b")


def test_another_machine(whole, tmp_path):
    """The machine is a number at offset 18 of the file."""
    data = bytearray(whole)
    struct.pack_into("<H", data, 18, 8)  # MIPS
    path = tmp_path / "mips.so"
    path.write_bytes(data)
    assert _core.read_library(str(path).encode()) == "it is not a shared library for this kind of machine"


@pytest.mark.parametrize("value", [4, 2**32, 2**64 - 8])
@pytest.mark.parametrize("tag", [DT_INIT_ARRAYSZ, DT_FINI_ARRAYSZ])
def test_tables_of_functions(whole, tmp_path, tag, value):
    """A copy would not run the constructors in a table that cannot be read."""
    data = bytearray(whole)
    entry = next(place for place in dynamic_entries(whole) if struct.unpack_from("<Q", whole, place)[0] == tag)
    struct.pack_into("<Q", data, entry + 8, value)
    path = tmp_path / "functions.so"
    path.write_bytes(data)
    answer = _core.read_library(str(path).encode())
    assert answer == "its table of constructors or destructors is damaged"


def test_the_last_of_several_entries_counts(whole, tmp_path):
    """The dynamic loader takes the last one. The file has a second SONAME and a second RUNPATH."""
    data = bytearray(whole)
    entries = {tag: struct.unpack_from("<Q", whole, place + 8)[0] for place in dynamic_entries(whole)
               for tag in struct.unpack_from("<Q", whole, place)}  # fmt: skip
    spare = [place for place in dynamic_entries(whole) if struct.unpack_from("<Q", whole, place)[0] == DT_NULL]
    struct.pack_into("<QQ", data, spare[0], DT_SONAME, entries[DT_RUNPATH])
    struct.pack_into("<QQ", data, spare[1], DT_RUNPATH, entries[DT_SONAME])
    path = tmp_path / "twice.so"
    path.write_bytes(data)
    soname, needed, runpath, *_ = _core.read_library(str(path).encode())
    assert (soname, runpath) == ((b"$ORIGIN",), (b"libwhole.so",))
    assert b"libinner.so" in needed
