"""Signal handlers that raise exceptions at instructions of owngil, of which a random choice is tried."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from extensions import libraries

HERE = Path(__file__).parent


@pytest.mark.parametrize("seed", [1, 2])
def test_no_exception_of_a_signal_handler_leaves_a_lock_held_or_a_future_unresolved(tmp_path, rounds, seed):
    libraries.compile_c(tmp_path / "signal_at.so", HERE.parent / "extensions" / "signal_at.c")
    attempts = rounds(600, 10_000)
    command = [sys.executable, str(HERE / "interrupted.py"), str(tmp_path), "--attempts", str(attempts)]
    done = subprocess.run([*command, "--seed", str(seed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)["of"]
    assert len(counts) == 30
    assert min(counts.values()) == attempts // 30
