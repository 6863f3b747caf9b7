"""Fixtures and hooks of all tests."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from extensions import libraries
from patience import HANGS_AFTER

import owngil

type Run = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stress", action="store_true", help="run the loops that provoke rare races, and these for long")


def pytest_xdist_auto_num_workers() -> int | None:
    """Return how many processes run the tests: more than there are cores, as many tests wait. None: xdist decides."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else len(os.sched_getaffinity(0)) + 2


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder for the extensions that tests build, shared by all processes of a run; and let Ctrl-C arrive."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        os.environ["OWNGIL_TEST_BUILDS"] = folder = tempfile.mkdtemp(prefix="owngil-test-builds-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--stress"):
        loops = [item for item in items if "rounds" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in loops])
        items[:] = loops
        for item in items:
            item.add_marker(pytest.mark.timeout(STRESS_HANGS_AFTER + 60))


STRESS_HANGS_AFTER = 3600


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Choose how often a loop that provokes a rare race runs: `rounds(few, many)`. `make stress` takes `many`."""
    return lambda few, many: many if request.config.getoption("--stress") else few


@pytest.fixture
def run_program(tmp_path: Path, pytestconfig: pytest.Config) -> Run:
    """Run source text as a program in a process of its own; a deadlock ends it with the stacks of all threads."""
    timeout = STRESS_HANGS_AFTER if pytestconfig.getoption("--stress") else HANGS_AFTER

    def run(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "program.py"
        path.write_text(
            f"import faulthandler; faulthandler.dump_traceback_later({timeout - 10}, exit=True)\n"
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

    def run(source: str, *arguments: str) -> str:
        done = run_program(source, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def preload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Compile a C source into a library that all programs of the test preload."""

    def compile_and_set(source: Path) -> None:
        library = libraries.compile_c(tmp_path / f"{source.stem}.so", source)
        others = os.environ.get("LD_PRELOAD", "")  # a sanitizer's library must come first
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
