"""The end of a private copy with its worker: its C++ statics, its destructors, the functions that it registered."""

import os
from pathlib import Path

import pytest
from extensions import build, libraries

import owngil

HERE = Path(__file__).parents[1] / "extensions"
WORKERS = 3


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Give the folder with the modules unique and endings."""
    folder = tmp_path_factory.mktemp("unloading")
    unique = libraries.compile_cxx(folder / f"unique{build.SUFFIX}", HERE / "unique.cpp", "-std=c++17")
    libraries.compile_c(folder / f"endings{build.SUFFIX}", HERE / "endings.c")
    assert b"GNU" in unique.read_bytes()
    return str(folder)


@pytest.fixture
def workers(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    workers = [owngil.Interpreter() for _ in range(WORKERS)]
    yield workers
    for worker in workers:
        worker.close()


def test_unique_symbols_are_private(workers):
    def bump(times):
        import unique

        return [unique.bump() for _ in range(times)][-1], unique.fail_inside()

    futures = [worker.submit(bump, 10 * k + 1) for k, worker in enumerate(workers)]
    for k, future in enumerate(futures):
        assert future.result() == ((10 * k + 1,) * 3, 10 * k + 1)


USE = """
    import os, sys
    import owngil
    folder, module, what = sys.argv[1:]
    sys.path.insert(0, folder)

    def mapped():
        with open("/proc/self/maps") as maps:
            return sum(folder in line or f"owngil:{module}" in line for line in maps)

    def use(module, what, fd):
        import importlib
        imported = importlib.import_module(module)
        if module == "unique":
            return imported.bump()
        begun = imported.tell(fd)
        assert all(imported.register(each) for each in what)
        return begun

    read, write = os.pipe()
    workers = [owngil.Interpreter() for _ in range(3)]
    begun = [worker.call(use, module, what, write) for worker in workers]
    assert begun in ([1, 1, 1], [(1, 1, 1)] * 3), begun
    assert mapped() >= 3
"""


@pytest.mark.parametrize("module", ["unique", "endings"])
def test_copies_are_unmapped_when_their_workers_close(folder, ends_cleanly, module):
    ends_cleanly(
        USE
        + """
    for worker in workers:
        worker.close()
    print(mapped())
    """,
        folder,
        module,
        "",
    )


# The registered functions; those called when the workers have closed; those called at the end. D: destructors.
ENDINGS = [
    ("", "DDD", "DDD"),
    ("X", "DDDXXX", "DDDXXX"),
    ("P", "DDDPPP", "DDDPPP"),
    ("K", "DDDKKK", "DDDKKK"),
    ("XPK", "DDDKKKPPPXXX", "DDDKKKPPPXXX"),
    # A function that may be called at any time pins the copy: its destructor runs at the end of the process or never.
    ("A", "", ""),
]


@pytest.mark.parametrize(("what", "closed", "ended"), ENDINGS)
@pytest.mark.parametrize("close", [True, False], ids=["closed", "left"])
def test_each_registered_function_is_called_once(folder, tmp_path, ends_cleanly, what, closed, ended, close):
    log = tmp_path / "log"
    ends_cleanly(
        USE.replace("read, write = os.pipe()", "write = os.open('log', os.O_CREAT | os.O_WRONLY | os.O_APPEND)")
        + ("\n    for worker in workers:\n        worker.close()\n" if close else "")
        + "\n    os.write(write, b'|')\n",
        folder,
        "endings",
        what,
    )
    first, _, rest = log.read_text().partition("|")
    assert "".join(sorted(first)) == (closed if close else "")
    assert "".join(sorted(first + rest)) == ended


def test_a_signal_handler_pins_its_copy(folder, ends_cleanly):
    printed = ends_cleanly(
        USE
        + """
    import signal
    for worker in workers:
        worker.close()
    os.set_blocking(read, False)
    before = os.read(read, 100) if select.select([read], [], [], 0)[0] else b""
    os.kill(os.getpid(), signal.SIGUSR1)
    print(before.decode(), os.read(read, 100).decode())
    """.replace("import signal", "import select, signal"),
        folder,
        "endings",
        "S",
    )
    assert printed == "DD S\n"  # the handler that was registered last is called


def test_a_thread_that_a_destructor_starts_keeps_the_copies_that_it_uses(tmp_path, ends_cleanly):
    """The library's destructor starts it when the worker has ended; it calls a function of the module."""
    package = tmp_path / "late"
    library = libraries.compile_c(
        tmp_path / "late.libs" / "liblate.so", HERE / "late.c", "-DLIBRARY", "-Wl,-soname,liblate.so"
    )
    search = libraries.ORIGIN_LIBS.format(package=package.name)
    libraries.compile_c(package / f"late{build.SUFFIX}", HERE / "late.c", search, str(library))
    out = ends_cleanly(
        """
    import os, sys
    import owngil

    sys.path.insert(0, sys.argv[1])
    (go, start), (done, answer) = os.pipe(), os.pipe()
    os.environ.update(LATE_GO=str(go), LATE_DONE=str(answer))
    with owngil.Interpreter() as it:
        it.call(__import__, "late")
    os.write(start, b"g")
    print(os.read(done, 1).decode())
    """,
        str(package),
    )
    assert out == "d\n"


def test_dladdr_finds_a_copys_function_in_the_original(workers, folder):
    def look_up():
        import endings

        return endings.look_up()

    path = os.path.join(folder, f"endings{build.SUFFIX}")
    for worker in workers:
        name, same, found = worker.call(look_up)
        assert (os.path.realpath(name), same) == (path, True)
        assert found, "dlopen() of the name that dladdr() gives, RTLD_NOLOAD"


def test_workers_of_main_and_of_workers_close_at_the_same_time(ends_cleanly, rounds):
    """Since 3.13, a new parser of keywords takes main's GIL; before owngil allowed for that, every other run hung."""
    ends_cleanly(
        """
        import sys, threading, owngil

        def open_and_close(times):
            for _ in range(times):
                with owngil.Interpreter() as it:
                    it.exec("import _ctypes")
            return times

        with owngil.Pool(2) as pool:
            times = int(sys.argv[1])
            futures = [pool.submit(open_and_close, times) for _ in range(2)]
            threads = [threading.Thread(target=open_and_close, args=(times,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [future.result() for future in futures] == [times, times]
        """,
        str(rounds(10, 1000)),
    )
