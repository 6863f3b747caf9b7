"""Damages ELF files in the parts that loaders read. Never in code, which would crash however it is loaded."""

import random
import struct
from itertools import pairwise
from typing import NamedTuple

__all__ = ["Layout", "damage"]

PT_DYNAMIC, PT_LOAD = 2, 1
TAGS = {  # the tags of the dynamic table that point at something: the name, the width of its numbers, the size of one
    4: ("hash", 4, 4),
    5: ("strings", 1, 1),
    6: ("symbols", 8, 24),
    7: ("relocations", 8, 24),
    23: ("plt_relocations", 8, 24),
    25: ("constructors", 8, 8),
    26: ("destructors", 8, 8),
    36: ("relative_relocations", 8, 8),
    0x6FFFFEF5: ("gnu_hash", 4, 4),
    0x6FFFFFF0: ("versions", 2, 2),
    0x6FFFFFFC: ("defined_versions", 4, 20),
    0x6FFFFFFE: ("needed_versions", 4, 16),
}
SIZES = {5: 10, 7: 8, 23: 2, 25: 27, 26: 28, 36: 35}  # the tags that give their sizes
OTHER_TAGS = [0, 1, 3, 9, 11, 12, 13, 14, 15, 16, 20, 21, 22, 24, 29, 30, 32, 33, 37, 0x6FFFFFFB, 0x6FFFFFFD,
              0x6FFFFFF9, 0x7FFFFFFD, 0x7FFFFFFF, 2**63]  # fmt: skip
NASTY = [0, 1, 2, 7, 8, 0xFF, 0xFFF, 0x1000, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**47, 2**62, 2**63 - 1,
         2**63, 2**64 - 4096, 2**64 - 8, 2**64 - 1]  # fmt: skip


class Part(NamedTuple):
    name: str
    start: int  # offset in the file
    end: int
    width: int  # of its numbers
    entry: int  # size of one of its entries


class Layout:
    """Where the parts of a sound file are."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        program, sections = struct.unpack_from("<QQ", data, 32)
        program_count, _, section_count = struct.unpack_from("<HHH", data, 56)
        self.parts = [Part("header", 0, 64, 2, 8), Part("segments", program, program + 56 * program_count, 8, 56)]
        if section_count:
            self.parts.append(Part("sections", sections, sections + 64 * section_count, 8, 64))
        self._loads: list[tuple[int, int, int]] = []
        for at in range(program, program + 56 * program_count, 56):
            kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", data, at)
            if kind == PT_LOAD:
                self._loads.append((address, offset, size))
            elif kind == PT_DYNAMIC:
                self.parts.append(Part("dynamic", offset, offset + size, 8, 16))
        self._add_tables()

    def _offset_of(self, address: int) -> int | None:
        for start, offset, size in self._loads:
            if start <= address < start + size:
                return offset + address - start
        return None

    def _add_tables(self) -> None:
        dynamic = next(part for part in self.parts if part.name == "dynamic")
        entries = {}
        for at in range(dynamic.start, dynamic.end, 16):
            tag, value = struct.unpack_from("<QQ", self.data, at)
            if tag == 0:
                break
            entries[tag] = value
        starts = {
            tag: offset for tag in TAGS if tag in entries and (offset := self._offset_of(entries[tag])) is not None
        }
        ends = dict(pairwise(sorted(set(starts.values()))))
        for tag, start in starts.items():
            size = entries.get(SIZES.get(tag, -1))
            end = start + size if size is not None else ends.get(start, start + 64)
            name, width, entry = TAGS[tag]
            self.parts.append(Part(name, start, min(end, len(self.data)), width, entry))


def _number(rng: random.Random, old: int, size: int) -> int:
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(NASTY)
    if kind == 1:
        return old + rng.choice([-4096, -16, -8, -1, 1, 8, 16, 4096])
    if kind == 2:
        return old ^ 1 << rng.randrange(64)
    if kind == 3:
        return rng.randrange(2 * size)
    if kind == 4:
        return size + rng.choice([-4096, -8, -1, 0, 1, 8, 4096])
    return rng.getrandbits(rng.choice([8, 16, 32, 64]))


def _change_number(rng: random.Random, data: bytearray, part: Part) -> str:
    width = part.width if rng.random() < 0.8 else rng.choice([1, 2, 4, 8])
    at = part.start + rng.randrange(max((part.end - part.start) // width, 1)) * width
    at = min(at, len(data) - width)
    new = _number(rng, int.from_bytes(data[at : at + width], "little"), len(data)) % 2 ** (8 * width)
    data[at : at + width] = new.to_bytes(width, "little")
    return f"{part.name}: {width} bytes at {at} = {new:#x}"


def _copy_entry(rng: random.Random, data: bytearray, part: Part) -> str:
    count = max((part.end - part.start) // part.entry, 1)
    source, target = (part.start + rng.randrange(count) * part.entry for _ in range(2))
    old = data[target : target + part.entry]
    data[target : target + part.entry] = data[source : source + part.entry]
    swaps = rng.random() < 0.5
    if swaps:
        data[source : source + part.entry] = old
    return f"{part.name}: {part.entry} bytes at {source} {'swapped with' if swaps else 'copied to'} {target}"


def _change_tag(rng: random.Random, data: bytearray, part: Part) -> str:
    at = part.start + rng.randrange((part.end - part.start) // 16) * 16
    tag = rng.choice([*TAGS, *SIZES.values(), *OTHER_TAGS])
    struct.pack_into("<Q", data, at, tag)
    if rng.random() < 0.3:
        struct.pack_into("<Q", data, at + 8, _number(rng, 0, len(data)) % 2**64)
    return f"dynamic: tag {tag:#x} at {at}"


def _change_file(rng: random.Random, data: bytearray, layout: Layout) -> str:
    kind = rng.randrange(5)
    if kind == 0:
        edge = rng.choice([part.end for part in layout.parts] + [part.start for part in layout.parts])
        size = rng.choice([edge + rng.choice([-8, -1, 0, 1]), rng.randrange(len(data)), len(data) - rng.randrange(64)])
        size = max(min(size, len(data)), 0)
        del data[size:]
        return f"cut off at {size}"
    if kind == 1:
        more = rng.choice([1, 8, 4095, 4096, 65536])
        data += rng.randbytes(more)
        return f"{more} random bytes more"
    if kind == 2:  # the table of program headers somewhere else
        part = layout.parts[1]
        data += bytes(-len(data) % 8)
        struct.pack_into("<Q", data, 32, len(data))
        data += data[part.start : part.end]
        return "program headers at the end"
    if kind == 3:
        part = rng.choice(layout.parts)
        data[part.start : part.end] = bytes(part.end - part.start)
        return f"{part.name}: zeros"
    source, target = (rng.choice(layout.parts) for _ in range(2))
    size = min(source.end - source.start, target.end - target.start)
    data[target.start : target.start + size] = data[source.start : source.start + size]
    return f"{size} bytes of {source.name} copied to {target.name}"


def damage(rng: random.Random, layout: Layout) -> tuple[bytes, list[str]]:
    """Return a damaged copy of the file, and what was done to it."""
    data = bytearray(layout.data)
    done = []
    for _ in range(rng.choice([1, 1, 1, 1, 2, 2, 3, 6])):
        part = rng.choice(layout.parts)
        kind = rng.random()
        if kind < 0.08 and len(data) == len(layout.data):
            done.append(_change_file(rng, data, layout))
        elif part.end > len(data):
            continue
        elif part.name == "dynamic" and kind < 0.35:
            done.append(_change_tag(rng, data, part))
        elif kind < 0.22:
            done.append(_copy_entry(rng, data, part))
        elif len(data) >= 8:
            done.append(_change_number(rng, data, part))
    return bytes(data), done
