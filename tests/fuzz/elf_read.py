"""Damaged libraries, read and copied but not loaded: the core must never crash, whatever the file has.

A case is some thousand damaged files. A worker reads each, makes a private copy of it in which it renames what the
library needs, and forgets the copy. `cases.py` has the options. The file that a case has crashed with is in build/fuzz.
With the address sanitizer: OWNGIL_TESTS=tests/fuzz make asan.
"""

import os
import random
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzzing import cases, elf_samples
from fuzzing.elf_damage import Layout, damage

import owngil
from owngil import _core

FILES = int(os.environ.get("OWNGIL_FUZZ_FILES", 10000))


def copy(path: bytes, needed: tuple[bytes, ...]) -> str | None:
    """Make a private copy of the file and forget it. Return why there cannot be one, or None."""
    answer = _core.reserve_copy(path, ())
    if isinstance(answer, str):
        return answer
    number, _ = answer
    try:
        return _core.write_copy(number, tuple((name, b"/proc/self/fd/3/" + name * 3) for name in needed))
    finally:
        _core.discard_copy(number)


def read_all(state: object, samples: list[bytes], path: Path) -> Counter[str]:
    """Read and copy damaged files, in a worker."""
    rng = random.Random()
    rng.setstate(state)
    layouts = [Layout(data) for data in samples]
    counts: Counter[str] = Counter()
    for _ in range(FILES):
        data, done = damage(rng, rng.choice(layouts))
        path.unlink(missing_ok=True)  # some file systems flush a file that is written anew
        path.write_bytes(data)
        facts = _core.read_library(bytes(path))
        problem = copy(bytes(path), facts[1] if isinstance(facts, tuple) else (b"libc.so.6",))
        assert facts != "", done
        assert problem != "", done
        assert isinstance(problem, str) or not isinstance(facts, str), (facts, done)
        counts["files"] += 1
        counts["read" if isinstance(facts, tuple) else "not read"] += 1
        counts["copied" if problem is None else "not copied"] += 1
    path.unlink()
    return counts


def run(rng: random.Random, name: str) -> Counter[str]:
    with TemporaryDirectory() as folder, owngil.Interpreter() as interpreter:
        samples = elf_samples.small(Path(folder)) + [s for s in elf_samples.real() if s.path.stat().st_size < 1 << 20]
        data = [sample.path.read_bytes() for sample in samples]
        return interpreter.call(read_all, rng.getstate(), data, cases.OUTPUT / f"{name}.so")


if __name__ == "__main__":
    cases.main(run)
