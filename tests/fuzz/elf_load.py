"""Damaged libraries, imported by plain Python and by a worker of owngil: owngil must do no worse.

- Where plain Python imports the module, owngil does too, and the module gives the same answer; or owngil raises an
  ImportError with a sentence.
- Where plain Python raises an exception, owngil raises one.
- Where plain Python crashes or hangs (the dynamic loader checks little), anything may happen. Such files are counted.

A case is some dozen damaged files of one library; each is imported in two processes. `cases.py` has the options. A file
on which owngil does worse is kept in build/fuzz.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzzing import cases, elf_samples
from fuzzing.elf_damage import Layout, damage

FILES = int(os.environ.get("OWNGIL_FUZZ_FILES", 40))
SECONDS = 20  # for one import; a hang of owngil's is confirmed with ten times as many
HERE = Path(__file__).parent


class Server:
    """Processes that import damaged files in one way."""

    def __init__(self, way: str, folder: Path) -> None:
        self._output, self._errors = folder / f"{way}.json", folder / f"{way}.err"
        program = [sys.executable, "-X", "faulthandler", str(HERE / "fuzzing" / "loaded.py"), way]
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, kind: str, name: str, path: Path, seconds: float = SECONDS) -> None:
        """Begin to import the module `name` in the file `path`."""
        self._output.unlink(missing_ok=True)
        order = {"kind": kind, "name": name, "path": str(path), "output": str(self._output),
                 "errors": str(self._errors), "seconds": seconds}  # fmt: skip
        assert self._process.stdin is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)

    def answer(self) -> tuple[str, str]:
        """Return "loaded" or "refused", and the answer or the exception; or "crashed" or "hangs", and its stack."""
        assert self._process.stdout is not None
        end = self._process.stdout.readline().rstrip()
        if end == "ended":
            verdict, text = json.loads(self._output.read_text())
            return verdict, text
        errors = self._errors.read_text(errors="replace")[-3000:]
        return ("hangs", errors) if end == "hangs" else ("crashed", f"{end}\n{errors}")

    def close(self) -> None:
        """End the server."""
        self._process.communicate()


def place(folder: Path, sample: elf_samples.Sample) -> Path:
    """Return where the damaged file is to be: as deep as in a wheel, with the libraries of wheels at their places."""
    for libs in sample.path.parents[2].glob("*.libs"):
        (folder / libs.name).symlink_to(libs)
    (folder / "package" / "part").mkdir(parents=True)
    return folder / "package" / "part" / f"damaged-{sample.name}.so"


def is_worse(plain: tuple[str, str], owngil: tuple[str, str]) -> bool:
    """Return whether owngil does worse than plain Python."""
    verdict, text = owngil
    if plain[0] == "loaded":
        refuses = verdict == "refused" and text.startswith(("IsolationError: ", "ImportError: ")) and len(text) > 20
        return not refuses and owngil != plain
    return plain[0] == "refused" and verdict != "refused"


def run(rng: random.Random, name: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    worse = []
    with TemporaryDirectory() as text:
        folder = Path(text)
        samples = elf_samples.small(folder)
        real = elf_samples.real()
        sample = rng.choice(samples if rng.random() < 0.7 else real)
        layout = Layout(sample.path.read_bytes())
        damaged = place(folder, sample) if sample.path == sample.module else sample.path
        module = damaged if sample.path == sample.module else sample.module
        plain, owngil = Server("plain", folder), Server("owngil", folder)
        for number in range(FILES if sample.kind != "numpy" else max(FILES // 8, 1)):
            data, done = (layout.data, ["nothing"]) if number == 0 else damage(rng, layout)
            damaged.unlink(missing_ok=True)
            damaged.write_bytes(data)
            cases.note(f"{sample.name}, number {number}: {done}")
            for server in (plain, owngil):
                server.ask(sample.kind, sample.module.name.partition(".")[0], module)
            expected, got = plain.answer(), owngil.answer()
            if got[0] == "hangs" and expected[0] != "hangs":  # or is the machine busy?
                owngil.ask(sample.kind, sample.module.name.partition(".")[0], module, 10 * SECONDS)
                got = owngil.answer()
            assert number > 0 or (expected[0] == "loaded" and expected == got), (sample.name, expected, got)
            counts["files"] += 1
            counts[f"plain {expected[0]}, owngil {got[0]}"] += 1
            if is_worse(expected, got):
                kept = cases.OUTPUT / f"{name}-{number}-{sample.name}.so"
                shutil.copy(damaged, kept)
                worse.append(f"{kept}: {done}\n  plain Python: {' '.join(expected)}\n  owngil: {' '.join(got)}")
        plain.close()
        owngil.close()
    if worse:
        print("\n".join(worse), file=sys.stderr)
        sys.exit(f"owngil does worse with {len(worse)} of {counts['files']} files of {sample.name}")
    return counts


if __name__ == "__main__":
    cases.main(run)
