"""The checks of the installed packages: results are equal in 4 workers and the main interpreter at once.

`make ecosystem` installs all packages and writes docs/compatibility.md.
"""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import HANGS_AFTER

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from checks import CHECKS  # noqa: E402

sys.path.remove(str(HERE))


def installed(name):
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.mark.parametrize("name", [name for name in CHECKS if installed(name)])
def test_package(name, tmp_path):
    done = subprocess.run(
        [sys.executable, str(HERE / "run_check.py"), name],
        env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
