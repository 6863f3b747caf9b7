"""Damaged libraries that the dynamic loader follows into a crash: a worker refuses them with a sentence."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from extensions import build, libraries

SOURCE = Path(__file__).parents[1] / "fuzz" / "fuzzing" / "elf_module.c"
FAR = 1 << 40
PT_LOAD, PT_DYNAMIC, PT_NOTE = 1, 2, 4
DT_NULL, DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_STRSZ = 0, 1, 4, 5, 6, 7, 8, 10
DT_SONAME, DT_JMPREL, DT_PLTRELSZ = 14, 23, 2
DT_GNU_HASH, DT_VERSYM, DT_RELACOUNT, DT_VERNEED = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFF9, 0x6FFFFFFE
IGNORED_TAG = 0x60000F00


class Elf:
    """A library in memory, whose numbers can be changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = bytearray(path.read_bytes())

    def get(self, form: str, offset: int) -> int:
        return struct.unpack_from(f"<{form}", self.data, offset)[0]

    def put(self, form: str, offset: int, value: int) -> None:
        struct.pack_into(f"<{form}", self.data, offset, value)

    def segments(self, kind: int) -> list[int]:
        """Return the offsets of the program headers of one kind."""
        start, count = self.get("Q", 32), self.get("H", 56)
        return [at for at in range(start, start + 56 * count, 56) if self.get("I", at) == kind]

    def offset_of(self, address: int) -> int:
        for at in self.segments(PT_LOAD):
            offset, start = self.get("Q", at + 8), self.get("Q", at + 16)
            if start <= address < start + self.get("Q", at + 32):
                return offset + address - start
        raise LookupError(address)

    def entries(self) -> Iterator[tuple[int, int]]:
        """Yield the offset and the tag of each entry of the dynamic section."""
        (segment,) = self.segments(PT_DYNAMIC)
        start = self.get("Q", segment + 8)
        for at in range(start, start + self.get("Q", segment + 32), 16):
            yield at, self.get("Q", at)

    def entry(self, tag: int) -> int:
        return next(at for at, found in self.entries() if found == tag)

    def value(self, tag: int) -> int:
        return self.get("Q", self.entry(tag) + 8)

    def table(self, tag: int) -> int:
        """Return the offset of the table that a dynamic entry points at."""
        return self.offset_of(self.value(tag))

    def relocation_of(self, name: bytes) -> int:
        """Return the offset of the relocation that refers to a symbol."""
        symbols, strings = self.table(DT_SYMTAB), self.table(DT_STRTAB)
        for tag, size in [(DT_RELA, DT_RELASZ), (DT_JMPREL, DT_PLTRELSZ)]:
            start = self.table(tag)
            for at in range(start, start + self.value(size), 24):
                found = strings + self.get("I", symbols + 24 * (self.get("Q", at + 8) >> 32))
                if self.data[found : found + len(name) + 1] == name + b"\0":
                    return at
        raise LookupError(name)

    def save(self) -> None:
        self.path.unlink()
        self.path.write_bytes(self.data)


def no_such_versions(elf: Elf) -> None:
    for number in range(1, 8):
        elf.put("H", elf.table(DT_VERSYM) + 2 * number, 0x7FF0)


def versions_of_a_library_that_is_not_needed(elf: Elf) -> None:
    strings = elf.table(DT_STRTAB)
    elf.put("I", elf.table(DT_VERNEED) + 4, elf.data.index(b"PyInit_damaged\0", strings) - strings)


def a_chain_of_versions_that_leaves_the_library(elf: Elf) -> None:
    elf.put("I", elf.table(DT_VERNEED) + 8, 0x7FFFFFF0)


def a_relocation_far_outside(elf: Elf) -> None:
    elf.put("Q", elf.table(DT_RELA), FAR)


def a_relative_relocation_that_is_none(elf: Elf) -> None:
    elf.put("Q", elf.entry(DT_RELACOUNT) + 8, elf.value(DT_RELASZ) // 24)


def two_relocations_of_one_place(elf: Elf) -> None:
    place = elf.get("Q", elf.relocation_of(b"PyGILState_Ensure"))
    elf.put("Q", elf.relocation_of(b"Py_BuildValue"), place)


def a_name_of_a_symbol_far_outside(elf: Elf) -> None:
    elf.put("I", elf.table(DT_SYMTAB) + 24, 0xFFFFFFF0)


def a_name_of_a_library_far_outside(elf: Elf) -> None:
    elf.put("Q", elf.entry(DT_NEEDED) + 8, FAR)


def a_bloom_filter_of_three_words(elf: Elf) -> None:
    elf.put("I", elf.table(DT_GNU_HASH) + 8, 3)


def a_hash_chain_that_never_ends(elf: Elf) -> None:
    table = elf.table(DT_HASH)
    buckets, symbols = elf.get("I", table), elf.get("I", table + 4)
    for symbol in range(1, symbols):
        elf.put("I", table + 8 + 4 * (buckets + symbol), symbol)


def a_note_far_outside(elf: Elf) -> None:
    for at in elf.segments(PT_NOTE):
        elf.put("Q", at + 16, FAR)


def segments_out_of_order(elf: Elf) -> None:
    first, second = elf.segments(PT_LOAD)[1:3]
    data = elf.data
    data[first : first + 56], data[second : second + 56] = data[second : second + 56], data[first : first + 56]


def no_end_of_the_dynamic_section(elf: Elf) -> None:
    for at, tag in elf.entries():
        if tag == DT_NULL:
            elf.put("Q", at, IGNORED_TAG)


def an_empty_dynamic_section(elf: Elf) -> None:
    for at, _ in elf.entries():
        elf.put("Q", at, DT_NULL)


IMPORT = """
    import sys
    import owngil
    sys.path.insert(0, sys.argv[1])

    def use():
        import damaged
        return damaged.answer()

    with owngil.Interpreter() as it:
        try:
            it.call(use)
        except owngil.IsolationError as error:
            print(" ".join(str(error).split()))
        assert it.call(abs, -1) == 1
"""


@pytest.mark.parametrize(
    ("damage", "hash_style", "reason"),
    [
        (no_such_versions, "gnu", "its versions of symbols are damaged"),
        (versions_of_a_library_that_is_not_needed, "gnu", "it needs versions of PyInit_damaged, but not this library"),
        (a_chain_of_versions_that_leaves_the_library, "gnu", "its versions of symbols are damaged"),
        (a_relocation_far_outside, "gnu", "its relocations are damaged"),
        (a_relative_relocation_that_is_none, "gnu", "its relocations are damaged"),
        (two_relocations_of_one_place, "gnu", "its reference to PyGILState_Ensure cannot be redirected: its place"),
        (a_name_of_a_symbol_far_outside, "gnu", "its symbol table is damaged"),
        (a_name_of_a_library_far_outside, "gnu", "its string table is damaged"),
        (a_bloom_filter_of_three_words, "gnu", "its hash table is damaged"),
        (a_hash_chain_that_never_ends, "sysv", "its hash table is damaged"),
        (a_note_far_outside, "gnu", "its program headers are damaged"),
        (segments_out_of_order, "gnu", "its segments overlap or are not in order"),
        (an_empty_dynamic_section, "gnu", "its dynamic section is damaged"),
        (no_end_of_the_dynamic_section, "gnu", "its dynamic section is damaged"),
    ],
)
def test_a_damaged_library_is_refused(
    ends_cleanly: Callable[..., str], tmp_path: Path, damage: Callable[[Elf], None], hash_style: str, reason: str
) -> None:
    path = tmp_path / f"damaged{build.SUFFIX}"
    elf = Elf(libraries.compile_c(path, SOURCE, "-DNAME=damaged", f"-Wl,--hash-style={hash_style}"))
    damage(elf)
    elf.save()
    assert reason in ends_cleanly(IMPORT, str(tmp_path))


RENAME = """
    import sys
    import owngil
    from owngil import _core

    def rename(path, changed):
        number, _ = _core.reserve_copy(path, ())
        problem = _core.write_copy(number, ((b"first", b"1"), (changed, b"2" * (1 << 24))))
        _core.discard_copy(number)
        return problem

    with owngil.Interpreter() as it:
        print(it.call(rename, sys.argv[1].encode(), bytes.fromhex(sys.argv[2])))
"""


def test_a_new_name_never_changes_which_others_are_renamed(ends_cleanly, tmp_path):
    """The string table begins with the dynamic section, so the first needed library's new name is a part of names."""
    source = tmp_path / "strings.c"
    source.write_text('char name[] = "first";\n')
    elf = Elf(libraries.compile_c(tmp_path / "strings.so", source, "-Wl,-z,norelro", "-nostdlib", "-Wl,-s"))
    spare = [at for at, tag in elf.entries() if tag == DT_NULL]
    start = next(elf.entries())[0]
    segment = next(at for at in elf.segments(PT_LOAD) if elf.get("Q", at + 8) <= start < elf.get("Q", at + 8)
                   + elf.get("Q", at + 32))  # fmt: skip
    address = elf.get("Q", segment + 16) + start - elf.get("Q", segment + 8)
    end = elf.data.index(b"first\0", start) + len(b"first\0")
    elf.put("Q", elf.entry(DT_STRTAB) + 8, address)
    elf.put("Q", elf.entry(DT_STRSZ) + 8, end - start)
    elf.put("Q", spare[0], DT_NEEDED)
    elf.put("Q", spare[0] + 8, end - len(b"first\0") - start)
    elf.put("Q", spare[1], DT_NEEDED)
    elf.put("Q", spare[1] + 8, spare[0] + 8 - start)  # the first one's number, read as a name
    elf.save()
    last = max(elf.segments(PT_LOAD), key=lambda at: elf.get("Q", at + 16))
    alignment = max(elf.get("Q", at + 48) for at in elf.segments(PT_LOAD))
    tail = -(-(elf.get("Q", last + 16) + elf.get("Q", last + 40)) // alignment) * alignment
    new = tail - address + 56 * (elf.get("H", 56) + 1)  # the new name's place in the string table
    changed = struct.pack("<Q", new).rstrip(b"\0")
    assert b"\0" not in changed
    assert ends_cleanly(RENAME, str(elf.path), changed.hex()) == "None\n"
