"""A short soak, and its ability to find errors."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import soak

PROGRAM = Path(__file__).parent / "soak.py"


@pytest.mark.parametrize("seed", [1, 7])
def test_nothing_is_lost_and_nothing_runs_twice(seed, rounds):
    tasks = rounds(2000, 100_000)
    command = [
        sys.executable,
        str(PROGRAM),
        "--tasks",
        str(tasks),
        "--seconds",
        "0",
        "--round",
        "1000",
        "--seed",
        str(seed),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["anomalies"] == []
    assert summary["tasks"] == sum(summary["outcomes"].values()) == tasks
    assert min(summary["outcomes"][kind] for kind in ("done", "failed", "cancelled")) > 0


@pytest.mark.parametrize("path", sorted((PROGRAM.parent / "results").glob("*.json")), ids=lambda path: path.stem)
def test_the_results_that_the_docs_name(path):
    summary = json.loads(path.read_text())
    assert summary["python"] == path.stem
    assert summary["tasks"] == sum(summary["outcomes"].values()) >= 1_000_000
    assert summary["anomalies"] == []
    assert summary["threads"][0] == summary["threads"][1]
    assert summary["descriptors"][0] == summary["descriptors"][1]
    assert f"soak/results/{path.name}" in (PROGRAM.parents[2] / "docs" / "design.md").read_text()


@pytest.mark.parametrize(
    ("outcome", "runs", "seen"),
    [(soak.DONE, 1, False), (soak.DONE, 0, True), (soak.DONE, 2, True), (soak.FAILED, 0, True),
     (soak.CANCELLED, 0, False), (soak.CANCELLED, 1, True), (soak.INTERRUPTED, 1, False),
     (soak.INTERRUPTED, 2, True), (None, 0, True),
     (None, 1, True)],
)  # fmt: skip
def test_the_soak_reports_an_outcome_that_contradicts_the_runs(outcome, runs, seen):
    whole = soak.Soak(1)
    one = soak.Round(whole, 100)
    one.pool.shutdown()
    k = one.ids(1)[0]
    one.runs[k] = runs
    if outcome is not None:
        one.note([k], outcome)
    one.account()
    assert bool(whole.anomalies) == seen


def test_the_soak_reports_wrong_results_and_callbacks():
    whole = soak.Soak(1)
    one = soak.Round(whole, 100)
    one.runs[:3] = 1
    futures = [one.pool.submit(abs, -5), one.pool.submit(int, "x"), one.pool.submit(abs, -4)]
    one.futures = [(future, k, soak.plain, ()) for future, k in zip(futures, one.ids(3), strict=True)]
    one.expected_calls = {2}
    one.called = Counter({2: 2})
    one.pool.shutdown()
    one.account()
    assert len(whole.anomalies) == 3  # task 2 has the right result and one callback too many


def test_the_soak_reports_growing_memory():
    rounds = [(3 * k + k % 2, 1000 * k) for k in range(40)]
    rounds = [{"workers": w, "tasks": tasks, "megabytes": 50 + 2 * w} for w, tasks in rounds]
    assert soak.growth(rounds) == {"megabytes_by_worker": [2, 0], "bytes_by_task": [0, 0]}
    assert soak.growth(rounds[:5]) is None
