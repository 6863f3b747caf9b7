"""A few cases of the fuzzing programs, always the same, and the programs' ability to find errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import elf_load
import pytest
from fuzzing import describe
from patience import HANGS_AFTER

HERE = Path(__file__).parent


def run(program: str, folder: Path, *options: str, **sizes: int) -> subprocess.CompletedProcess[str]:
    """Run a program; `sizes` are the numbers of files, sequences or objects in a case."""
    environment = {**os.environ, "OWNGIL_FUZZ_OUTPUT": str(folder)}
    environment |= {f"OWNGIL_FUZZ_{name.upper()}": str(size) for name, size in sizes.items()}
    return subprocess.run(
        [sys.executable, str(HERE / program), *options], capture_output=True, text=True, env=environment, check=False,
        timeout=HANGS_AFTER,
    )  # fmt: skip


def summary_of(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_damaged_files_are_read_and_copied_or_refused(tmp_path):
    summary = summary_of(run("elf_read.py", tmp_path, "--cases", "2", files=2000))
    assert (summary["cases"], summary["failed"], summary["files"]) == (2, [], 4000)
    assert summary["read"] > 1000
    assert summary["not read"] > 100
    assert summary["copied"] > 1000


def test_sound_files_give_the_same_answer_in_a_worker(tmp_path):
    summary = summary_of(run("elf_load.py", tmp_path, "--cases", "12", files=1))
    assert summary["plain loaded, owngil loaded"] == summary["files"] == 12


def test_calls_of_the_api_answer_as_the_model_says(tmp_path):
    summary = summary_of(run("api_calls.py", tmp_path, "--cases", "1", "--seed", "1", sequences=6))
    assert (summary["cases"], summary["failed"]) == (1, [])
    assert summary["sequences"] >= 6
    assert summary["steps"] > 50


def test_objects_arrive_as_they_were_sent(tmp_path):
    summary = summary_of(run("wire_objects.py", tmp_path, "--cases", "1", objects=60))
    assert (summary["cases"], summary["failed"]) == (1, [])
    assert summary["objects made there"] > 0
    assert summary["hostile raised"] > 0
    assert summary["hostile arrived"] > 0


@pytest.mark.parametrize(
    ("make", "found"),
    [(lambda: [1, (2, "x")], ""), (lambda: [1, (2, "y")], "'x'"), (lambda: [True, (2, "x")], "bool"),
     (lambda: [1, [2, "x"]], "list"), (lambda: [1, (2, "x"), 3], "0x3")],
)  # fmt: skip
def test_what_counts_as_different(make, found):
    difference = describe.difference(describe.describe([1, (2, "x")]), describe.describe(make()))
    assert found in difference
    assert (found == "") == (difference == "")


def test_shared_references_and_cycles_count():
    shared, cycle = [], []
    cycle.append(cycle)
    assert describe.difference(describe.describe([shared, shared]), describe.describe([[], []]))
    assert describe.difference(describe.describe(cycle), describe.describe([[]]))
    assert not describe.difference(describe.describe(cycle), describe.describe(cycle))


LOADED, REFUSED, CRASHED = ("loaded", "1"), ("refused", "ImportError: invalid ELF header"), ("crashed", "exit code -11")
ISOLATION = ("refused", "IsolationError: m cannot be loaded in a worker: no private copy can be made")


@pytest.mark.parametrize(
    ("plain", "owngil", "worse"),
    [(LOADED, LOADED, False), (LOADED, ("loaded", "2"), True), (LOADED, ISOLATION, False), (LOADED, CRASHED, True),
     (LOADED, ("refused", "SystemError: odd"), True), (REFUSED, ISOLATION, False), (REFUSED, LOADED, True),
     (REFUSED, CRASHED, True), (REFUSED, ("hangs", ""), True), (CRASHED, CRASHED, False), (CRASHED, LOADED, False)],
)  # fmt: skip
def test_what_counts_as_worse(plain, owngil, worse):
    assert elf_load.is_worse(plain, owngil) == worse


def test_a_case_that_crashes_is_reported_with_its_command(tmp_path):
    program = tmp_path / "crashes.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "import os, signal\n"
        "from collections import Counter\n"
        "from fuzzing import cases\n"
        "def run(rng, name):\n"
        "    cases.note('about to crash')\n"
        "    if name.endswith('-1'):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return Counter(steps=3)\n"
        "cases.main(run)\n"
    )
    done = run(str(program), tmp_path, "--cases", "3", "--seed", "7", files=1)
    assert done.returncode == 1
    summary = json.loads(done.stdout)
    assert (summary["cases"], summary["failed"], summary["steps"]) == (3, [1], 6)
    assert f"{program} --seed 7 --case 1" in done.stderr
    assert "about to crash" in done.stderr
    assert "Fatal Python error: Segmentation fault" in done.stderr
