"""The check that imports point down, which `make lint` runs: it holds for the tree, and sees what is planted."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())


def check(package):
    """Return the check's exit code and what it says."""
    command = [sys.executable, ROOT / "tools" / "lint-layers", package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
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
