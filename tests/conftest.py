"""What all tests share."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from extensions import libraries

import owngil

type Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_program(tmp_path: Path) -> Run:
    """Run source text as a program in a process of its own; a deadlock ends it with the stacks of all threads."""

    def run(source: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "program.py"
        path.write_text(
            f"import faulthandler; faulthandler.dump_traceback_later({timeout - 5}, exit=True)\n"
            + textwrap.dedent(source)
        )
        return subprocess.run(
            [sys.executable, str(path), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
            env={**os.environ, "MPLBACKEND": "agg"},
            check=False,
        )

    return run


@pytest.fixture
def ends_cleanly(run_program: Run) -> Callable[..., str]:
    """Run a program that must exit with 0 and print nothing on stderr; return what it printed."""

    def run(source: str, *arguments: str, timeout: float = 60) -> str:
        done = run_program(source, *arguments, timeout=timeout)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def preload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Compile a C source into a library that all programs preload which the test starts."""

    def compile_and_set(source: Path) -> None:
        library = libraries.compile_c(tmp_path / f"{source.stem}.so", source)
        others = os.environ.get("LD_PRELOAD", "")  # a sanitizer's must come first
        monkeypatch.setenv("LD_PRELOAD", f"{others} {library}".strip())

    return compile_and_set


@pytest.fixture(scope="module")
def interpreter() -> Iterator[owngil.Interpreter]:
    with owngil.Interpreter() as it:
        yield it


@pytest.fixture(scope="module")
def pool() -> Iterator[owngil.Pool]:
    with owngil.Pool(2) as pool:
        yield pool
