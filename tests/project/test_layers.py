"""The checks that imports and includes point down, which `make lint` runs: they pass, and find planted errors."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from patience import HANGS_AFTER

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())


def check(package, tool="lint-layers"):
    """Return the check's exit code and output."""
    command = [sys.executable, ROOT / "tools" / tool, package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_AFTER, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def package(tmp_path):
    """A copy of the package."""
    return shutil.copytree(ROOT / "src" / "owngil", tmp_path / "owngil")


def test_the_tree_has_no_arrow_up_and_no_circle(package):
    code, said = check(package)
    assert code == 0, said


@pytest.mark.parametrize(
    ("module", "planted", "arrow"),
    [
        ("_wire/chunks.py", "from owngil._api import pool\n", "owngil._wire is not allowed to import owngil._api"),
        (
            "_worker/stdio.py",
            "def late():\n    from owngil._tasks.stats import Stats\n    return Stats\n",
            "owngil._worker is not allowed to import owngil._tasks",
        ),
        (
            "_tasks/future.py",
            "import typing\nif typing.TYPE_CHECKING:\n    from owngil._api.pool import Pool\n",
            "owngil._tasks is not allowed to import owngil._api",
        ),
        ("_caller/stdio.py", "from owngil._worker import reports\n", "_caller is not allowed to import owngil._worker"),
        ("_isolation/cores.py", "def late():\n    import owngil\n", "owngil._isolation is not allowed to import"),
        ("_wire/chunks.py", "from owngil._wire.arrays import is_shared\n", ".chunks -> .arrays"),
        ("_wire/chunks.py", "def late():\n    from owngil import _wire\n", "owngil._wire.chunks -> owngil._wire"),
    ],
    ids=["at the top", "in a function", "for type checking", "sideways", "the whole", "a circle", "its own room"],
)
def test_a_planted_import_is_seen(package, module, planted, arrow):
    path = package / module
    path.write_text(f"{path.read_text()}\n{planted}")
    code, said = check(package)
    assert code == 1, said
    assert arrow in said


def test_a_module_without_a_layer_is_seen(package):
    (package / "_new.py").touch()
    code, said = check(package)
    assert code == 1, said
    assert "_new" in said


@pytest.fixture
def core(tmp_path):
    """A copy of the C core."""
    return shutil.copytree(ROOT / "src" / "core", tmp_path / "core")


def test_the_core_has_no_arrow_up_and_no_circle(core):
    code, said = check(core, "lint-includes")
    assert (code, said) == (0, "")


@pytest.mark.parametrize(
    ("file", "included", "arrow"),
    [
        ("base/clock.h", "sync/waiter.h", "base must not know sync"),
        ("loader/copies.c", "messaging/queue.h", "loader must not know messaging"),
        ("sync/waiter.h", "sync/parking.h", "a circle of includes: "),
        ("platform/thread.h", "base/nothing.h", "which is no path below"),
    ],
    ids=["up", "sideways", "a circle", "not there"],
)
def test_a_planted_include_is_seen(core, file, included, arrow):
    path = core / file
    path.write_text(f'#  include "{included}" /* planted */\n{path.read_text()}')
    code, said = check(core, "lint-includes")
    assert code == 1, said
    assert arrow in said


def test_a_room_without_a_layer_is_seen(core):
    (core / "attic").mkdir()
    (core / "attic" / "old.c").touch()
    code, said = check(core, "lint-includes")
    assert code == 1, said
    assert "is in no room" in said
