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


def test_dir_is_the_public_list():
    assert sorted(dir(owngil)) == sorted([*owngil.__all__, "__version__"])


def test_all_objects_show_something(tmp_path):
    recording = owngil.trace(tmp_path / "trace.json")
    with owngil.Pool(2) as pool, owngil.InterpreterPoolExecutor(1) as executor:
        assert repr(pool) == "<owngil.Pool open, at most 2 workers>"
        assert repr(executor) == "<owngil.InterpreterPoolExecutor open, at most 1 worker>"
        assert repr(pool.with_timeout(1.5)) == f"<{pool!r}, 1.5 s a call>"
        assert pool.submit(repr, pool).result() == "<owngil.Pool open, at most 2 workers, of another interpreter>"
        with recording:
            assert repr(recording) == f"<owngil.trace '{tmp_path}/trace.json' on>"
    assert repr(recording).endswith(" off>")
    assert repr(pool) == "<owngil.Pool closed, at most 2 workers>"
    with owngil.Pool(1, initializer=int, initargs=("x",)) as broken:
        assert isinstance(broken.submit(abs, 1).exception(), owngil.BrokenPoolError)
        assert repr(broken) == "<owngil.Pool broken, at most 1 worker>"
    makers = [owngil.Channel, owngil.Lock, owngil.Semaphore, owngil.BoundedSemaphore, owngil.Event, owngil.Counter]
    for made in [*(make() for make in makers), owngil.Barrier(2), owngil.worker_local(dict), owngil.Interpreter()]:
        assert repr(made).startswith("<owngil."), made
