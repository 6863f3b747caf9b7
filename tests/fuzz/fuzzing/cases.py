"""Runs the cases of a fuzzing program, each in a process of its own.

    python tests/fuzz/NAME.py [--seconds S | --cases N] [--seed K]     all cases, one after the other
    python tests/fuzz/NAME.py --seed K --case N                        one case again, in this process

A case is a number: with the seed it determines all random decisions. A case that raises, crashes, hangs or does not
exit with 0 is reported with the end of what it printed on stderr, and with the command that runs it again. The other
cases still run. The last line on stdout is a summary in JSON; the exit code is 1 if a case has failed.
"""

import argparse
import faulthandler
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

__all__ = ["HANGS_AFTER", "OUTPUT", "main", "note", "notes_of"]

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "tests"))  # for the extensions that tests build

#: The folder for what a failed case leaves.
OUTPUT = Path(os.environ.get("OWNGIL_FUZZ_OUTPUT", ROOT / "build" / "fuzz")) / f"{sys.implementation.cache_tag}"
#: Seconds after which a case shows all stacks and ends.
HANGS_AFTER = int(os.environ.get("OWNGIL_FUZZ_HANGS_AFTER", 300))
PROGRESS = 30  # seconds between two lines on the progress

_notes: Path | None = None


def note(text: str | None) -> None:
    """Write down what the case is about to do, for when it crashes or hangs; None: begin anew."""
    if _notes is not None:
        with open(_notes, "w" if text is None else "a") as file:
            file.write("" if text is None else f"{text}\n")


def notes_of(name: str, seed: int, number: int) -> Path:
    """Return the file with the notes of a case."""
    return OUTPUT / f"{name}-{seed}-{number}.notes"


def _run_one(run: Callable[[random.Random, str], Counter[str]], name: str, seed: int, number: int) -> None:
    global _notes
    faulthandler.enable()
    faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
    _notes = notes_of(name, seed, number)
    counts = run(random.Random(f"{seed}/{number}"), f"{name}-{seed}-{number}")
    print(json.dumps(counts))


def _show_failure(done: subprocess.CompletedProcess[str], command: list[str], notes: Path) -> None:
    print(f"\nFAILED with exit code {done.returncode}: {' '.join(command)}", file=sys.stderr)
    print(done.stderr[-6000:], file=sys.stderr)
    if notes.exists() and notes.stat().st_size > 0:
        print(f"The last steps ({notes}):\n  " + "\n  ".join(notes.read_text().splitlines()[-40:]), file=sys.stderr)


def _run_all(name: str, options: argparse.Namespace) -> int:
    start = time.monotonic()
    shown = start
    totals: Counter[str] = Counter()
    failed: list[int] = []
    cases = 0
    for number in count():
        now = time.monotonic()
        if number >= options.cases if options.cases is not None else now - start >= options.seconds:
            break
        if now - shown >= PROGRESS:
            shown = now
            print(f"{name}: {now - start:.0f} s, {cases} cases, {len(failed)} failed, {dict(totals)}", file=sys.stderr)
        command = [sys.executable, str(Path(sys.argv[0])), "--seed", str(options.seed), "--case", str(number)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="backslashreplace", check=False,
                                  timeout=HANGS_AFTER + 60)  # fmt: skip
        except subprocess.TimeoutExpired as error:  # not even faulthandler could end it
            done = subprocess.CompletedProcess(command, -1, "", f"{error.stderr!r}\nThe case hangs.")
        cases += 1
        notes = notes_of(name, options.seed, number)
        if done.returncode == 0:
            totals.update(json.loads(done.stdout.splitlines()[-1]))
            notes.unlink(missing_ok=True)
        else:
            failed.append(number)
            _show_failure(done, command, notes)
    summary = {"program": name, "python": platform.python_version(), "seed": options.seed, "cases": cases,
               "failed": failed, "seconds": round(time.monotonic() - start), **totals}  # fmt: skip
    print(json.dumps(summary))
    return 1 if failed else 0


def main(run: Callable[[random.Random, str], Counter[str]]) -> None:
    """Run the program: `run` runs one case, and returns how much of what kind it has tried.

    Its arguments are the source of all random decisions, and a name for files.
    """
    program = Path(sys.argv[0])
    parser = argparse.ArgumentParser(prog=program.name)
    parser.add_argument("--seconds", type=float, default=60, help="begin no more cases after this time (60)")
    parser.add_argument("--cases", type=int, help="run so many cases, and do not look at the time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run only this one, in this process")
    options = parser.parse_args()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    builds = OUTPUT / "builds"
    builds.mkdir(exist_ok=True)
    os.environ.setdefault("OWNGIL_TEST_BUILDS", str(builds))
    if options.case is not None:
        _run_one(run, program.stem, options.seed, options.case)
    else:
        sys.exit(_run_all(program.stem, options))
