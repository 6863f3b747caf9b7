"""Installation for a Python that owngil is not tested with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import HANGS_AFTER

ROOT = Path(__file__).parents[2]
# Meson asks the Python for which it builds by running a script in it.
PRETENDER = """
import sys, sysconfig
_, version, *sys.argv = sys.argv
sysconfig.get_python_version = lambda: version
if sys.argv[0] == "-c":
    exec(sys.argv[1])
else:
    exec(compile(open(sys.argv[0]).read(), sys.argv[0], "exec"))
"""


@pytest.fixture
def configure(tmp_path):
    """Run meson's setup for a Python that reports some version; return what it printed."""

    def run(version, **variables):
        pretender = tmp_path / "pretender.py"
        pretender.write_text(PRETENDER)
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{pretender}" {version} "$@"\n')
        python.chmod(0o755)
        native = tmp_path / "native.ini"
        native.write_text(f"[binaries]\npython = '{python}'\n")
        done = subprocess.run(
            [sys.executable, "-m", "mesonbuild.mesonmain", "setup", "--wipe", str(tmp_path / "build"), str(ROOT),
             "--native-file", str(native)],
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **variables},
            capture_output=True, text=True, timeout=HANGS_AFTER, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


SENTENCE = (
    "owngil is tested up to Python 3.15, and this is Python 3.16: use an older Python or a newer owngil,"
    " or set OWNGIL_UNTESTED_PYTHON=1 to try it all the same"
)


def test_a_python_that_is_not_tested(configure):
    code, said = configure("3.16")
    assert code != 0
    assert said.count(SENTENCE) == 1
    code, said = configure("3.16", OWNGIL_UNTESTED_PYTHON="0")
    assert code != 0
    assert SENTENCE in said
    code, said = configure("3.16", OWNGIL_UNTESTED_PYTHON="1")
    assert code == 0, said


def test_the_newest_python(configure):
    code, said = configure("3.15")
    assert code == 0, said
