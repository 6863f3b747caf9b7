import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import owngil


def test_exactly_these_names_are_public():
    assert owngil.__all__ == [
        "Barrier",
        "BoundedSemaphore",
        "BrokenPoolError",
        "Channel",
        "ChannelClosed",
        "Counter",
        "Event",
        "Interpreter",
        "InterpreterPoolExecutor",
        "IsolationError",
        "Lock",
        "Pool",
        "RemoteError",
        "RemoteTraceback",
        "Semaphore",
        "Stats",
        "WorkerStats",
        "empty",
        "full",
        "map",
        "run",
        "share",
        "to_interpreter",
        "trace",
        "track",
        "worker_local",
        "zeros",
    ]
    assert all(getattr(owngil, name).__doc__ for name in owngil.__all__)


def test_one_version_everywhere():
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert owngil.__version__ == version("owngil") == project["version"]
    assert f"version: '{owngil.__version__}'" in (root / "meson.build").read_text()


def test_importing_needs_no_extra():
    forbidden = ["numpy", "matplotlib", "tqdm", "PIL"]
    code = f"import sys, owngil, owngil.cli; print([m for m in {forbidden} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_refused_platforms_say_why(monkeypatch):
    import pytest

    from owngil import _platform

    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ImportError, match=r"^owngil needs Linux with glibc; this is .+$"):
        _platform.check()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("os.confstr", lambda name: None)
    with pytest.raises(ImportError, match="Linux with glibc"):
        _platform.check()
    monkeypatch.setattr(sys, "abiflags", "t")
    with pytest.raises(ImportError, match="free-threaded"):
        _platform.check()
    monkeypatch.setattr(sys, "version_info", (3, 11, 9))
    with pytest.raises(ImportError, match=r"CPython 3\.12 or newer"):
        _platform.check()


def test_an_installation_for_another_python_says_so(tmp_path):
    package = tmp_path / "owngil"
    shutil.copytree(Path(owngil.__file__).parent, package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (package / "_core.cpython-39-x86_64-linux-gnu.so").touch()
    ran = subprocess.run(
        [sys.executable, "-c", "import owngil"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("ImportError: owngil was installed for another Python: in "), ran.stderr
    assert f"no _core is for {sys.implementation.cache_tag} (_core.cpython-39-x86_64-linux-gnu.so); install it" in last
