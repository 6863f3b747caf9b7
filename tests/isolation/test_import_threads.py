"""Imports from several threads of a worker, in several interpreters at once, and with interrupts in the middle."""

import os
import shutil
import sys
import threading

import pytest
from extensions import build, libraries
from patience import HANGS_AFTER

import owngil

MODULES = 12


@pytest.fixture(scope="session")
def crowd(tmp_path_factory):
    """Give a folder with the package `crowd`: modules that need one private library, which needs another."""
    folder = tmp_path_factory.mktemp("crowd")
    libs = folder / "crowd.libs"
    inner = libraries.library(libs / "libinner.so", "inner")
    origin = "-Wl,--enable-new-dtags,-rpath,$ORIGIN"
    outer = libraries.library(libs / "libouter.so", "outer", origin, needs=["inner"], linked=[inner])
    package = folder / "crowd"
    for k in range(MODULES):
        libraries.module(package, f"m{k}", "outer", [outer])
    shutil.copy(package / f"m0{build.SUFFIX}", package / f"broken{build.SUFFIX}")  # it has no PyInit_broken
    (package / "left.py").write_text("import crowd.m1\nimport crowd.right\n")
    (package / "right.py").write_text("import crowd.m2\nimport crowd.left\n")
    (package / "raises.py").write_text("import crowd.m3\nraise ValueError('on purpose')\n")
    return folder


@pytest.fixture
def path(crowd, monkeypatch):
    monkeypatch.syspath_prepend(str(crowd))


NAMES = [f"crowd.m{k}" for k in range(MODULES)] + ["crowd.left", "crowd.right", "numpy.fft", "numpy.random", "pandas",
         "scipy.stats", "sqlite3", "ssl", "xml.etree.ElementTree", "decimal", "lzma", "bz2", "zoneinfo", "csv", "mmap",
         "asyncio", "logging", "ctypes", "unicodedata", "statistics", "multiprocessing.pool"]  # fmt: skip
FAILING = {"crowd.broken": "IsolationError", "crowd.raises": "ValueError", "crowd.not_there": "ModuleNotFoundError"}


def import_in_threads(names, count):
    """Import all names in each of several threads, in another order in each; return what failed."""
    import importlib
    import random
    import threading

    failed = []
    start = threading.Barrier(count)

    def work(seed):
        order = random.Random(seed).sample(names, len(names))
        start.wait()
        for name in order:
            try:
                importlib.import_module(name)
            except Exception as error:
                failed.append((name, type(error).__name__, str(error)))

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


@pytest.mark.usefixtures("path")
def test_threads_of_workers_and_of_main_import_much_at_once():
    threads = 4
    with owngil.Pool(2) as pool:
        futures = [pool.submit(import_in_threads, [*NAMES, *FAILING], threads) for _ in range(2)]
        while not all(future.done() for future in futures):
            assert import_in_threads(["json", "numpy", "csv"], 2) == []  # so main is busy, and imports too
        for future in futures:
            failed = future.result()
            found = {(name, kind) for name, kind, _ in failed}
            assert found == set(FAILING.items()), failed
            assert len(failed) == threads * len(FAILING), failed


def bumps(names):
    import importlib

    return [importlib.import_module(name).bump() for name in names]


@pytest.mark.usefixtures("path")
def test_modules_that_threads_import_at_once_have_one_copy_of_their_library():
    names = NAMES[:MODULES]
    for _ in range(3):
        with owngil.Interpreter() as it:
            assert it.call(import_in_threads, names, 6) == []
            assert it.call(bumps, names) == list(range(1, MODULES + 1))


def test_no_finder_is_skipped_when_a_watched_module_has_been_imported():
    def work():
        import importlib

        class Between:
            """Stands before the finder of paths, and imports what owngil watches for, as another thread may."""

            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == "colorsys":
                    found.extend(map(importlib.import_module, ["asyncio.base_events", "numpy", "logging"]))

        found = []
        sys.meta_path.insert(-1, Between)
        importlib.import_module("colorsys")
        return len(found)

    with owngil.Interpreter() as it:
        assert it.call(work) == 3


def test_an_interrupt_waits_for_the_end_of_a_load(interpreter):
    """The core's uninterrupted() is what copies are loaded in."""
    ready, ready_in = os.pipe()
    go_on, go_on_in = os.pipe()
    passed_in = os.pipe()

    def helpers():
        return len(os.listdir("/proc/self/task"))

    def work(before):
        import os
        import time

        from owngil import _core

        def wait():
            _core.uninterrupted(os.write, ready_in, b"x")  # nested
            os.read(go_on, 1)
            while len(os.listdir("/proc/self/task")) > before:  # until the thread that brings the interrupt has ended
                time.sleep(0.001)
            return sum(range(1000))

        passed = []
        try:
            passed.append(_core.uninterrupted(wait))
            while True:
                time.sleep(0.001)
        except KeyboardInterrupt:
            os.write(passed_in[1], b"interrupted")
            raise

    interpreter.call(abs, -1)
    future = interpreter.submit(work, helpers())
    os.read(ready, 1)
    interpreter.interrupt()
    os.write(go_on_in, b"x")
    with pytest.raises(KeyboardInterrupt):
        future.result(HANGS_AFTER)
    assert os.read(passed_in[0], 100) == b"interrupted"
    for fd in (ready, ready_in, go_on, go_on_in, *passed_in):
        os.close(fd)


def load_until_interrupted(paths, started):
    """Load copies without importlib, whose own locks an interrupt may leave locked."""
    import time

    from owngil._isolation import copies

    started.set()
    for path in paths:
        copies.load(path)
    while True:
        time.sleep(0.001)


def is_unlocked():
    """Whether another thread can load copies."""
    from concurrent.futures import ThreadPoolExecutor

    from owngil._isolation import copies

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(copies._lock.acquire, blocking=False).result() and copies._under_way == {}


@pytest.mark.usefixtures("path")
def test_interrupts_leave_nothing_that_later_imports_stumble_over(rounds, crowd):
    names = NAMES[:MODULES]
    paths = [os.path.realpath(crowd / "crowd" / f"m{k}{build.SUFFIX}") for k in range(MODULES)]
    for k in range(rounds(10, 2000)):
        with owngil.Interpreter() as it:
            started = owngil.Event()
            it.call(bumps, [])  # imports this module, and all that it needs
            future = it.submit(load_until_interrupted, paths, started)
            assert started.wait(HANGS_AFTER)  # an interrupt before it would hit nothing
            threading.Event().wait(k % 10 / 1000)  # the loads take some 30 ms
            it.interrupt()
            with pytest.raises(KeyboardInterrupt):
                future.result(HANGS_AFTER)
            assert it.call(bumps, names) == list(range(1, MODULES + 1))
            assert it.call(is_unlocked)
