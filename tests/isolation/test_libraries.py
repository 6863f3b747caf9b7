"""Libraries that extension modules need or that ctypes opens: which become private, and how they are found."""

import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from extensions import build, libraries
from library_uses import open_by_ctypes, use

import owngil

WORKERS = 3
_numbers = itertools.count()


class Layout:
    """A wheel's folders: a package, and the libraries beside it."""

    def __init__(self, folder: Path) -> None:
        self.name = f"wheel{next(_numbers)}"  # unique among the tests
        self.package = folder / self.name
        self.libs = folder / f"{self.name}.libs"

    def library(self, name: str, *options: str, file: str | None = None, **settings) -> Path:
        return libraries.library(self.libs / (file or f"lib{name}.so"), name, *options, **settings)

    def module(self, library: str, *linked: Path, name: str = "use", options: tuple[str, ...] = ()) -> Path:
        return libraries.module(self.package, name, library, linked, *options)


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    return Layout(tmp_path)


@pytest.fixture
def workers(layout) -> Iterator[list[owngil.Interpreter]]:
    """Workers that can import from the layout's folder."""
    workers = [owngil.Interpreter() for _ in range(WORKERS)]
    yield workers
    for worker in workers:
        worker.close()


def in_all(workers, package, name="use"):
    """Use the module in all workers at once: 100 k + 1 times in worker k."""
    futures = [worker.submit(use, package, 100 * k + 1, name) for k, worker in enumerate(workers)]
    counts, addresses, paths = zip(*(future.result() for future in futures), strict=True)
    return list(counts), set(addresses), {os.path.realpath(path) for path in paths}


def assert_private(workers, layout, path, name="use"):
    counts, addresses, paths = in_all(workers, layout.name, name)
    assert counts == [list(range(1, 100 * k + 2)) for k in range(WORKERS)]
    assert len(addresses) == WORKERS
    assert paths == {str(path)}


def assert_shared(workers, layout, path, name="use"):
    counts, addresses, paths = in_all(workers, layout.name, name)
    assert len(addresses) == 1
    assert paths == {str(path)}
    with open("/proc/self/maps") as maps:
        # Compare device and inode: a private copy is another file.
        mapped = {tuple(line.split()[3:5]) for line in maps if path.name in line}
    assert len(mapped) == 1
    return counts


RPATH = "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../{}.libs"


@pytest.mark.parametrize("by", ["RUNPATH", "RPATH"])
def test_a_library_with_variables_is_private(layout, workers, by):
    path = layout.library("counts")
    layout.module("counts", path, options=(RPATH.format(layout.name),) if by == "RPATH" else ())
    assert_private(workers, layout, path)


@pytest.mark.parametrize("size", [0, 8, 24, 48, 64])
def test_the_smallest_variable_counts(layout, workers, size):
    path = layout.library("tiny", state=size)
    layout.module("tiny", path)
    assert_private(workers, layout, path)


def test_a_library_without_variables_works(layout, workers):
    path = layout.library("plain", state=None)
    layout.module("plain", path)
    counts, _, paths = in_all(workers, layout.name)
    assert all(set(count) == {7} for count in counts)
    assert paths == {str(path)}


def test_a_library_that_uses_python_is_private(layout, workers):
    path = layout.library("snake", "-DUSES_PYTHON")
    layout.module("snake", path)
    assert_private(workers, layout, path)


def test_a_nodelete_library_is_shared(layout, workers):
    path = layout.library("stays", "-Wl,-z,nodelete")
    layout.module("stays", path)
    counts = assert_shared(workers, layout, path)
    assert max(map(max, counts)) == sum(map(len, counts))


def test_a_library_without_variables_that_needs_a_private_one_is_private(layout, workers):
    inner = layout.library("inner")
    middle = layout.library("middle", state=None, needs=["inner"], linked=[inner])
    outer = layout.library("outer", "-Wl,-rpath,$ORIGIN", state=None, needs=["middle"], linked=[middle])
    # A RUNPATH is not inherited, so each library has one.
    layout.library("middle", "-Wl,-rpath,$ORIGIN", state=None, needs=["inner"], linked=[inner])
    layout.module("outer", outer)
    assert_private(workers, layout, outer)


def test_an_rpath_is_inherited(layout, workers):
    inner = layout.library("deep")
    middle = layout.library("half", state=None, needs=["deep"], linked=[inner])
    layout.module("half", middle, options=(RPATH.format(layout.name),))
    assert_private(workers, layout, middle)


@pytest.mark.parametrize("hash_style", ["gnu", "sysv"])
def test_symbol_versions(layout, workers, tmp_path, hash_style):
    script = tmp_path / "versions"
    script.write_text("VERSION_1 { global: versioned_*; local: *; };\n")
    options = [f"-Wl,--version-script={script}", f"-Wl,--hash-style={hash_style}"]
    path = layout.library("versioned", *options)
    layout.module("versioned", path, options=(f"-Wl,--hash-style={hash_style}",))
    assert_private(workers, layout, path)


def test_two_libraries_that_need_each_other(layout, workers):
    first = layout.library("first")  # a first version, to link the second with
    search = "-Wl,-rpath,$ORIGIN"
    second = layout.library("second", search, needs=["first"], linked=[first])
    layout.library("first", search, needs=["second"], linked=[second])
    layout.module("first", first)
    layout.module("second", second, name="other")
    assert_private(workers, layout, first)
    assert_private(workers, layout, second, "other")


def test_a_circle_that_is_entered_from_both_sides_at_once(layout, workers):
    one = layout.library("ring1")
    search = "-Wl,-rpath,$ORIGIN"
    three = layout.library("ring3", search, needs=["ring1"], linked=[one])
    two = layout.library("ring2", search, state=None, needs=["ring3"], linked=[three])
    layout.library("ring1", search, "-Wl,--no-as-needed", needs=["ring2"], linked=[two])
    layout.module("ring1", one)
    layout.module("ring2", two, name="second")
    layout.module("ring3", three, name="third")

    def together(package):
        import importlib

        modules = [importlib.import_module(f"{package}.{name}") for name in ("second", "third", "use")]
        # The second library has no variables and calls the third library's function.
        return [module.bump() for module in modules for _ in range(10)]

    futures = [worker.submit(together, layout.name) for worker in workers]
    for future in futures:
        assert future.result() == [*range(1, 21), *range(1, 11)]


def test_two_shared_libraries_that_need_each_other(layout, workers):
    options = ["-Wl,-rpath,$ORIGIN", "-Wl,-z,nodelete"]
    first = layout.library("turn1", *options)
    second = layout.library("turn2", *options, needs=["turn1"], linked=[first])
    layout.library("turn1", *options, needs=["turn2"], linked=[second])
    layout.module("turn1", first)
    assert_shared(workers, layout, first)


def test_several_threads_load_modules_that_need_one_library(layout, workers):
    path = layout.library("crowd")
    second = layout.library("crowd2", "-Wl,-rpath,$ORIGIN", needs=["crowd"], linked=[path])
    names = [f"module{k}" for k in range(6)]
    for name in names:
        layout.module("crowd2", path, second, name=name, options=("-Wl,--no-as-needed",))

    def load_all(package, names):
        import importlib
        import sys
        import threading

        failures = []
        start = threading.Barrier(len(names))

        def load(name):
            start.wait()
            try:
                importlib.import_module(f"{package}.{name}")
            except BaseException as error:
                failures.append(repr(error))

        importlib.import_module(package)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=load, args=[name]) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
        modules = [sys.modules[f"{package}.{name}"] for name in names if f"{package}.{name}" in sys.modules]
        return failures, [module.bump() for module in modules]

    futures = [worker.submit(load_all, layout.name, names) for worker in workers]
    for future in futures:
        assert future.result() == ([], list(range(1, len(names) + 1)))


@pytest.mark.parametrize("way", ["by name", "by path"])
def test_a_library_without_soname(layout, workers, monkeypatch, way):
    path = layout.library("nameless", soname=False)
    if way == "by name":  # else the linker records the path that it was given
        layout.module("nameless", options=(f"-L{layout.libs}", "-lnameless"))
    else:
        layout.module("nameless", path)
    assert_private(workers, layout, path)


def test_two_modules_of_a_worker_have_one_library_in_common(layout, workers):
    path = layout.library("common")
    layout.module("common", path, name="one")
    layout.module("common", path, name="two")

    def together(package):
        import importlib

        one, two = (importlib.import_module(f"{package}.{name}") for name in ("one", "two"))
        return one.bump(), two.bump(), one.bump(), one.address() == two.address()

    futures = [worker.submit(together, layout.name) for worker in workers]
    for future in futures:
        assert future.result() == (1, 2, 3, True)


def test_two_packages_with_libraries_of_the_same_name(layout, workers, tmp_path):
    """Libraries of wheels that auditwheel did not rename: the dynamic loader of a process takes the first for both."""
    other = Layout(tmp_path)
    mine, theirs = layout.library("same"), other.library("same")
    layout.module("same", mine)
    other.module("same", theirs)

    def together(*packages):
        import importlib

        return [importlib.import_module(f"{package}.use").bump() for package in packages]

    futures = [worker.submit(together, layout.name, other.name) for worker in workers]
    for future in futures:
        assert future.result() in ([1, 1], [1, 2])


def test_a_library_that_is_never_shared_in_any_place(layout, workers):
    path = layout.library("hdf5test", "-Wl,-z,nodelete", file="libhdf5-test.so", state=None)
    layout.module("hdf5test", path)
    _, addresses, _ = in_all(workers, layout.name)
    assert len(addresses) == WORKERS


def test_a_library_that_is_always_shared(layout, workers):
    path = layout.library("openblastest", file="libopenblas-test.so")
    layout.module("openblastest", path)
    counts = assert_shared(workers, layout, path)
    assert max(map(max, counts)) == sum(map(len, counts))


def test_a_library_behind_a_symbolic_link(layout, workers):
    path = layout.library("linked", "-Wl,-soname,liblinked.so.1", file="liblinked.so.1.2", soname=False)
    (layout.libs / "liblinked.so.1").symlink_to(path.name)
    layout.module("linked", path)
    assert_private(workers, layout, path)


SEARCHED = """
    import os, sys
    import owngil
    package, here = sys.argv[1:]
    sys.path.insert(0, here)

    def use(package):
        import importlib
        module = importlib.import_module(f"{package}.use")
        return module.bump(), module.address(), module.path()

    workers = [owngil.Interpreter() for _ in range(4)]
    futures = [worker.submit(use, package) for worker in workers]
    counts, addresses, paths = zip(*[future.result() for future in futures])
    print(sorted(counts), len(set(addresses)), {os.path.basename(path) for path in paths})
"""


@pytest.mark.parametrize(("file", "counts"), [("libfar.so", [1, 2, 3, 4]), ("libhdf5-far.so", [1, 1, 1, 1])])
def test_a_library_that_the_system_finds(layout, tmp_path, monkeypatch, ends_cleanly, file, counts):
    folder = tmp_path / "elsewhere"
    path = libraries.library(folder / file, "far")
    layout.module("far", path, options=("-Wl,-rpath,$ORIGIN/nowhere",))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    printed = ends_cleanly(SEARCHED, layout.name, str(tmp_path))
    assert printed == f"{counts} {len({1}) if counts[1] == 2 else 4} {{{file!r}}}\n"


def test_a_needed_library_that_is_missing(layout, workers):
    path = layout.library("gone")
    layout.module("gone", path)
    path.unlink()
    for worker in workers:
        with pytest.raises(owngil.IsolationError, match=r"libgone\.so") as caught:
            worker.call(use, layout.name, 1)
        assert caught.value.name == f"{layout.name}.use"
    layout.library("gone")
    assert_private(workers, layout, path)  # the first attempt left nothing behind


def test_a_needed_library_that_another_needed_one_misses(layout, workers):
    inner = layout.library("gone2")
    outer = layout.library("needs2", "-Wl,-rpath,$ORIGIN", needs=["gone2"], linked=[inner])
    layout.module("needs2", outer)
    inner.unlink()
    for worker in workers:
        with pytest.raises(owngil.IsolationError, match=r"libgone2\.so"):
            worker.call(use, layout.name, 1)


def test_a_symbol_that_is_missing(layout, workers):
    path = layout.library("lacks", "-Dlacks_bump=other")
    layout.module("lacks", path)
    for worker in workers:
        with pytest.raises(owngil.IsolationError, match="lacks_bump"):
            worker.call(use, layout.name, 1)


def test_a_damaged_needed_library(layout, workers):
    path = layout.library("broken")
    layout.module("broken", path)
    path.write_bytes(path.read_bytes()[:1000])
    for worker in workers:
        with pytest.raises(owngil.IsolationError, match=r"libbroken\.so"):
            worker.call(use, layout.name, 1)


def test_numbers_of_copies_are_checked(layout, ends_cleanly):
    """The core takes only numbers that it gave to the same worker, and each step once."""
    ends_cleanly(
        """
    import sys
    import owngil
    from owngil import _core

    def refused(number, kind):
        for use in (
            _core.handle_of_copy,
            _core.discard_copy,
            lambda number: _core.write_copy(number, ()),
            lambda number: _core.load_copies((number,)),
        ):
            try:
                use(number)
            except kind:
                continue
            raise AssertionError(number)

    def there(path):
        copy, _ = _core.reserve_copy(path, ())
        unwritten, _ = _core.reserve_copy(path, ())
        for number in (0, 1, copy + 1, -1, 2**70, None, "text", 1.0):
            refused(number, (ValueError, TypeError, OverflowError))
        assert isinstance(_core.load_copies((unwritten,)), str)
        assert _core.handle_of_copy(unwritten) == 0
        _core.discard_copy(unwritten)
        refused(unwritten, ValueError)
        assert _core.write_copy(copy, ()) is None
        assert isinstance(_core.write_copy(copy, ()), str)
        assert _core.load_copies((copy, copy)) is None
        handle = _core.handle_of_copy(copy)
        _core.discard_copy(copy)  # it stays, as it is loaded
        assert isinstance(_core.write_copy(copy, ()), str)
        assert _core.handle_of_copy(copy) == handle != 0
        return copy

    with owngil.Interpreter() as one, owngil.Interpreter() as other:
        copy = one.call(there, sys.argv[1].encode())
        other.call(refused, copy, ValueError)
        refused(copy, RuntimeError)
    try:
        _core.close_library(0)
    except ValueError:
        pass
    else:
        raise AssertionError("0 was closed")
    """,
        str(layout.library("numbered")),
    )


@pytest.mark.parametrize("optimization", [None, "-O0", "-O3"])
def test_dlsym_searches_from_the_copy_that_calls_it(layout, ends_cleanly, tmp_path, optimization):
    """dlsym() decides by its return address, however the shim before it was compiled."""
    path = layout.library("next", state=8)
    search = libraries.ORIGIN_LIBS.format(package=layout.name)
    libraries.compile_c(
        layout.package / f"next{build.SUFFIX}", libraries.HERE / "next.c", search, "-Wl,--no-as-needed",
        str(path),
    )  # fmt: skip
    home = Path(owngil.__file__).parent
    if optimization is not None:
        home = tmp_path / "owngil"
        shutil.copytree(Path(owngil.__file__).parent, tmp_path / "owngil", ignore=lambda *_: ["__pycache__"])
        core = libraries.HERE.parents[1] / "src" / "core"
        options = (optimization, "-D_GNU_SOURCE", "-fvisibility=hidden", f"-I{core}")
        libraries.compile_c(home / "shim.lib", core / "loader" / "shim" / "shim.c", *options)
    out = ends_cleanly(
        """
    import sys
    sys.path.append(sys.argv[1])
    import owngil

    def find():
        import next
        return next.find()

    print(owngil.__file__, owngil.run(find))
    """,
        str(layout.package),
    )
    assert out == f"{home / '__init__.py'} (-1, 1, False)\n"


@pytest.mark.parametrize("depth", [1, 2])
def test_a_cut_off_library_is_not_given_to_the_dynamic_loader(layout, workers, depth):
    path = layout.library("short", state=None)
    linked = [path]
    if depth == 2:
        linked = [layout.library("long", "-Wl,-rpath,$ORIGIN", state=None, needs=["short"], linked=[path])]
    layout.module("long" if depth == 2 else "short", *linked)
    path.write_bytes(path.read_bytes()[:-1][: 4096 + 64])
    for worker in workers:
        with pytest.raises(owngil.IsolationError, match=r"libshort\.so, which cannot be loaded: it is cut off"):
            worker.call(use, layout.name, 1)
    layout.library("short", state=None)
    counts, _, _ = in_all(workers, layout.name)
    assert set(map(tuple, counts)) == {(7,) * len(count) for count in counts}


@pytest.mark.parametrize("kind", ["CDLL", "PyDLL"])
def test_ctypes_opens_private_copies(layout, workers, kind):
    path = layout.library("opened")
    futures = [worker.submit(open_by_ctypes, str(path), kind, 10 * k) for k, worker in enumerate(workers)]
    for k, future in enumerate(futures):
        assert future.result() == (list(range(1, 10 * k + 2)), True)


def test_ctypes_and_a_module_have_one_copy_in_common(layout, workers):
    path = layout.library("met")
    layout.module("met", path)

    def both(package, path):
        import ctypes
        import importlib

        module = importlib.import_module(f"{package}.use")
        counts = [module.bump(), ctypes.CDLL(path).met_bump(), module.bump()]
        return counts, ctypes.CDLL("libmet.so").met_bump()  # the dynamic loader finds a loaded library by its name

    for worker in workers:
        assert worker.call(both, layout.name, str(path)) == ([1, 2, 3], 4)


def test_ctypes_opens_a_library_that_a_private_one_needs(layout, workers):
    inner = layout.library("within")
    outer = layout.library("around", "-Wl,-rpath,$ORIGIN", state=None, needs=["within"], linked=[inner])

    def both(inner, outer):
        import ctypes

        one, other = ctypes.CDLL(inner), ctypes.CDLL(outer)
        return [one.within_bump(), other.around_bump(), one.within_bump()]

    futures = [worker.submit(both, str(inner), str(outer)) for worker in workers]
    for future in futures:
        assert future.result() == [1, 2, 3]


def test_ctypes_and_the_system(workers):
    def system():
        import ctypes
        import math

        process, math_library = ctypes.CDLL(None), ctypes.CDLL("libm.so.6")
        math_library.cos.restype = ctypes.c_double
        math_library.cos.argtypes = [ctypes.c_double]
        assert process.getpid() == ctypes.CDLL("libc.so.6").getpid()
        assert math_library.cos(1.0) == math.cos(1.0)
        assert ctypes.pythonapi.PyGILState_Check
        return process._handle, math_library._handle

    assert len({worker.call(system) for worker in workers}) == 1


def test_ctypes_closing_a_copy_does_not_break_it(layout, workers):
    path = layout.library("closed")

    def close(path):
        import _ctypes
        import ctypes

        library = ctypes.CDLL(path)
        first = library.closed_bump()
        _ctypes.dlclose(library._handle)
        _ctypes.dlclose(library._handle)
        shared = ctypes.CDLL("libm.so.6")
        _ctypes.dlclose(shared._handle)
        return first, library.closed_bump(), ctypes.CDLL(path).closed_bump()

    futures = [worker.submit(close, str(path)) for worker in workers]
    for future in futures:
        assert future.result() == (1, 2, 3)


@pytest.mark.parametrize("name", ["/nowhere/libnone.so", "libnone.so.99", "./libnone.so"])
def test_ctypes_says_when_a_file_is_missing(workers, name):
    def missing(name):
        import ctypes

        ctypes.CDLL(name)

    with pytest.raises(OSError, match=re.escape(os.path.basename(name))):
        workers[0].call(missing, name)


def test_ctypes_says_when_a_file_is_damaged(layout, workers, tmp_path):
    path = layout.library("cut")
    path.write_bytes(path.read_bytes()[:500])

    def damaged(path):
        import ctypes

        ctypes.CDLL(path)

    with pytest.raises(OSError, match=r"libcut\.so"):
        workers[0].call(damaged, str(path))


def test_ctypes_opens_a_module_of_the_worker(layout, workers):
    """Some packages open their own extension module for its C functions."""
    path = layout.library("own")
    module = layout.module("own", path, options=())

    def reopen(package, path):
        import ctypes
        import importlib

        module = importlib.import_module(f"{package}.use")
        handle = ctypes.PyDLL(path)
        return hasattr(handle, "PyInit_use"), ctypes.cast(handle.own_bump, ctypes.c_void_p).value == module.address()

    for worker in workers:
        assert worker.call(reopen, layout.name, str(module)) == (True, True)


def test_copies_are_unloaded_when_their_worker_closes(layout, ends_cleanly, tmp_path):
    path = layout.library("goes")
    layout.module("goes", path)
    printed = ends_cleanly(
        """
        import os, sys
        import owngil
        package, here, library, suffix = sys.argv[1:]
        sys.path.insert(0, here)

        def mapped():
            with open("/proc/self/maps") as maps:
                return [line for line in maps if here in line or "owngil:" in line and "_core" not in line]

        def use(package):
            import importlib
            return importlib.import_module(f"{package}.use").bump()

        for _ in range(3):
            workers = [owngil.Interpreter() for _ in range(3)]
            assert [worker.call(use, package) for worker in workers] == [1, 1, 1]
            assert mapped()
            descriptors = len(os.listdir("/proc/self/fd"))
            for worker in workers:
                worker.close()
            assert not mapped(), mapped()
        print(use(package), use(package))
        """,
        layout.name,
        str(tmp_path),
        str(path),
        build.SUFFIX,
    )
    assert printed == "1 2\n"
