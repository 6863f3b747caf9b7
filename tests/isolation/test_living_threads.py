"""A thread that a private copy started keeps its worker's memory for as long as it runs."""

from pathlib import Path

import pytest
from extensions import build, libraries

HERE = Path(__file__).parents[1] / "extensions"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Give the folder with the modules lasting and lasting_cxx."""
    folder = tmp_path_factory.mktemp("lasting")
    libraries.compile_c(folder / f"lasting{build.SUFFIX}", HERE / "lasting.c")
    libraries.compile_cxx(folder / f"lasting_cxx{build.SUFFIX}", HERE / "lasting_cxx.cpp", "-std=c++17")
    return str(folder)


START = """
    import ctypes, sys, time
    import owngil
    from owngil._tasks.workers import libraries_with_threads
    folder, how = sys.argv[1:]
    sys.path.insert(0, folder)

    def start(how):
        import importlib
        return importlib.import_module("lasting_cxx" if how in ("std", "async") else "lasting").start(how)

    def go_on(count, times=3):
        first, deadline = count.value, time.monotonic() + 250
        while count.value < first + times:
            assert time.monotonic() < deadline, "it counts no more"
            time.sleep(0.001)
"""


@pytest.mark.parametrize("how", ["pthread", "thrd", "pythread", "std", "async"])
def test_a_thread_keeps_running_in_the_memory_of_a_closed_worker(folder, ends_cleanly, how):
    """The thread runs on however it was started, and also when new workers start in place of the closed one."""
    said = ends_cleanly(
        START
        + """
    with owngil.Interpreter() as it:
        count = ctypes.c_long.from_address(it.call(start, how)[0])
    go_on(count)
    for _ in range(3):
        with owngil.Interpreter() as it:
            it.call(start, "pthread")
    go_on(count)
    print(*libraries_with_threads())
    """,
        folder,
        how,
    )
    modules = ["lasting", "lasting_cxx"] if how in ("std", "async") else ["lasting"]
    assert said.split() == [str(Path(folder) / f"{module}{build.SUFFIX}") for module in modules]


def test_the_memory_is_freed_when_the_thread_has_ended(folder, ends_cleanly):
    said = ends_cleanly(
        START
        + """
    def stop(address):
        import ctypes, os, time
        threads = len(os.listdir("/proc/self/task"))
        ctypes.c_long.from_address(address).value = 1
        while len(os.listdir("/proc/self/task")) == threads:
            time.sleep(0.001)

    with owngil.Interpreter() as it:
        it.call(stop, it.call(start, how)[1])
    print(*libraries_with_threads())
    """,
        folder,
        "pthread",
    )
    assert said.split() == []


def test_the_memory_goes_with_a_later_worker_when_the_thread_has_ended_since(folder, ends_cleanly):
    ends_cleanly(
        START
        + """
    import os, resource

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def start_beside_numpy(how):
        import lasting, numpy
        return lasting.start(how)

    def threads():
        return len(os.listdir("/proc/self/task"))

    with owngil.Interpreter() as it:
        it.call(start_beside_numpy, how)  # whatever stays once
    before, others, ends = resident(), threads(), []
    for _ in range(5):
        with owngil.Interpreter() as it:
            ends.append(it.call(start_beside_numpy, how)[1])
    kept = resident() - before
    for address in ends:
        ctypes.c_long.from_address(address).value = 1
    deadline = time.monotonic() + 250
    while threads() > others:
        assert time.monotonic() < deadline, "the threads go on"
        time.sleep(0.001)
    owngil.Interpreter().close()
    left = resident() - before
    assert left < kept / 2, (kept, left)
    """,
        folder,
        "pthread",
    )


def test_the_first_constructor_may_start_a_thread_of_the_cxx_library(tmp_path, ends_cleanly):
    """The shim finds libstdc++'s function that starts threads before the first constructor runs."""
    libraries.compile_cxx(tmp_path / f"constructor{build.SUFFIX}", HERE / "constructor.cpp", "-std=c++17")
    said = ends_cleanly(
        """
    import sys
    import owngil
    sys.path.insert(0, sys.argv[1])

    def count():
        import constructor
        return constructor.rounds()

    for _ in range(2):
        with owngil.Interpreter() as it:
            print(it.call(count))
    """,
        str(tmp_path),
    )
    assert said.split() == ["1", "1"]
