"""Repeated imports of one extension module, and unusual layouts: workers behave as the main interpreter does."""

from pathlib import Path

import pytest
from extensions import build, libraries

import owngil

SOURCE = Path(__file__).parents[1] / "extensions" / "statics.c"
KINDS = {"multi": [], "single": ["-DSINGLE_PHASE"]}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Give a folder with the package `again` (modules multi and single) and other layouts of the same files."""
    folder = tmp_path_factory.mktemp("reimport")
    for package in ("again", "plain"):
        (folder / package).mkdir()
        for name, options in KINDS.items():
            libraries.compile_c(folder / package / f"{name}{build.SUFFIX}", SOURCE, f"-DNAME={name}", *options)
    (folder / "again" / "__init__.py").touch()  # plain has no __init__.py: a namespace package
    (folder / "links").mkdir()
    (folder / "links" / "symlinked").symlink_to(folder / "again")
    (folder / "build" / "lib").mkdir(parents=True)
    for name in KINDS:
        (folder / "build" / "lib" / f"{name}.so").symlink_to(folder / "again" / f"{name}{build.SUFFIX}")
    return folder


@pytest.fixture
def workers(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.syspath_prepend(str(folder / "links"))
    workers = [owngil.Interpreter() for _ in range(3)]
    yield workers
    for worker in workers:
        worker.close()


@pytest.fixture
def same_everywhere(workers, folder, ends_cleanly):
    """Check that a function returns the same in each worker as in an interpreter without owngil; return the result."""

    def check(function, *arguments):
        import inspect
        import textwrap

        printed = ends_cleanly(
            textwrap.dedent(inspect.getsource(function))
            + f"import sys\nsys.path[:0] = {[str(folder), str(folder / 'links')]!r}\n"
            + f"print({function.__name__}(*{arguments!r}))\n"
        )
        futures = [worker.submit(function, *arguments) for worker in workers]
        results = [future.result() for future in futures]
        assert [repr(result) for result in results] == [printed.strip()] * len(workers)
        return results[0]

    return check


def delete_and_import(name):
    import importlib
    import sys

    first = importlib.import_module(f"again.{name}")
    bumps = [first.bump(), first.bump()]
    first.note = "here"
    del sys.modules[f"again.{name}"]
    second = importlib.import_module(f"again.{name}")
    bumps += [second.bump(), first.bump()]
    return bumps, second is first, second.__name__, hasattr(second, "note"), second.__spec__.name, type(second).__name__


@pytest.mark.parametrize("name", KINDS)
def test_deleted_from_sys_modules(same_everywhere, name):
    result = same_everywhere(delete_and_import, name)
    assert result[0] == [1, 2, 3, 4]


def reload(name):
    import importlib

    module = importlib.import_module(f"again.{name}")
    bumps = [module.bump(), module.bump()]
    module.note = "here"
    bump = module.bump
    module.bump = None
    again = importlib.reload(module)
    restored = module.bump is bump
    module.bump = bump
    return bumps + [module.bump()], again is module, hasattr(module, "note"), restored, module.__name__


@pytest.mark.parametrize("name", KINDS)
def test_reload(same_everywhere, name):
    assert same_everywhere(reload, name)[0] == [1, 2, 3]


def two_names(name):
    import importlib
    import importlib.util
    import sys

    first = importlib.import_module(f"again.{name}")
    spec = importlib.util.spec_from_file_location(f"elsewhere.{name}", first.__file__)
    second = importlib.util.module_from_spec(spec)
    sys.modules[f"elsewhere.{name}"] = second
    spec.loader.exec_module(second)
    return [first.bump(), second.bump(), first.bump()], first is second, first.__name__, second.__name__, second.last()


@pytest.mark.parametrize("name", KINDS)
def test_one_file_under_two_names(same_everywhere, name):
    same_everywhere(two_names, name)


def twice_from_file(name):
    import importlib.util
    import sys
    import sysconfig

    folder = next(entry for entry in sys.path if "reimport" in entry and "links" not in entry)
    path = f"{folder}/again/{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    bumps = []
    for _ in range(3):  # as some plugins do, without an entry in sys.modules
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        bumps.append(module.bump())
    return bumps, module.__name__


@pytest.mark.parametrize("name", KINDS)
def test_from_the_file_again_and_again(same_everywhere, name):
    assert same_everywhere(twice_from_file, name)[0] == [1, 2, 3]


def editable(name):
    """Install a finder that maps names to files, as editable installs do."""
    import importlib.util
    import os
    import sys

    folder = next(entry for entry in sys.path if "reimport" in entry and "links" not in entry)

    class Finder:
        @staticmethod
        def find_spec(fullname, path=None, target=None):
            if fullname != f"edited_{name}" and fullname != name:
                return None
            return importlib.util.spec_from_file_location(fullname, os.path.join(folder, "build", "lib", f"{name}.so"))

    sys.meta_path.insert(0, Finder)
    try:
        module = importlib.import_module(name)
    finally:
        sys.meta_path.remove(Finder)
    return module.bump(), module.bump(), os.path.relpath(module.__file__, folder), module.__name__


@pytest.mark.parametrize("name", KINDS)
def test_through_a_finder_of_a_build_folder(same_everywhere, name):
    assert same_everywhere(editable, name)[:2] == (1, 2)


def from_package(package, name):
    import importlib

    module = importlib.import_module(f"{package}.{name}")
    return module.bump(), module.__name__, module.__package__, module.bump.__module__, module.__file__


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("package", ["again", "plain", "symlinked"])
def test_kinds_of_packages(same_everywhere, package, name):
    assert same_everywhere(from_package, package, name)[0] == 1


def through_both(name):
    import importlib

    one, other = (importlib.import_module(f"{package}.{name}") for package in ("again", "symlinked"))
    return [one.bump(), other.bump()], one is other, one.__name__, other.__name__


@pytest.mark.parametrize("name", KINDS)
def test_one_file_through_two_packages(same_everywhere, name):
    same_everywhere(through_both, name)


def from_two_threads(name):
    import importlib
    import threading

    modules = []
    start = threading.Barrier(4)

    def load():
        start.wait()
        modules.append(importlib.import_module(f"again.{name}"))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(set(map(id, modules))), [module.bump() for module in modules]


@pytest.mark.parametrize("name", KINDS)
def test_from_several_threads_at_once(same_everywhere, name):
    assert same_everywhere(from_two_threads, name) == (1, [1, 2, 3, 4])


def different_modules_from_threads():
    import importlib
    import threading

    names = ["again.multi", "again.single", "plain.multi", "plain.single"]
    start = threading.Barrier(len(names))
    modules = {}

    def load(name):
        start.wait()
        modules[name] = importlib.import_module(name)

    threads = [threading.Thread(target=load, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {name: modules[name].bump() for name in names}


def test_different_modules_from_several_threads_at_once(same_everywhere):
    assert set(same_everywhere(different_modules_from_threads).values()) == {1}


def indexes_in_cpythons_list(names):
    """Return the index of each module in the interpreter's list of single-phase modules, and check the list."""
    import ctypes
    import importlib

    get, find = ctypes.pythonapi.PyModule_GetDef, ctypes.pythonapi.PyState_FindModule
    get.argtypes, get.restype = [ctypes.py_object], ctypes.c_void_p
    find.argtypes, find.restype = [ctypes.c_void_p], ctypes.c_void_p
    found = []
    for name in names:
        module = importlib.import_module(name)
        definition = get(module)
        assert find(definition) == id(module)
        found.append(ctypes.c_ssize_t.from_address(definition + 24).value)  # PyModuleDef.m_base.m_index
    return found


def test_the_list_of_modules_is_not_longer_in_later_workers(workers):
    names = ["again.single", "plain.single"]
    first, second, third = (worker.call(indexes_in_cpythons_list, names) for worker in workers)
    assert first == second == third
    assert len(set(first)) == 2


def test_each_module_has_an_index_of_its_own_in_whatever_order_workers_load_them(workers):
    names = ["again.single", "plain.single"]
    for worker, order in zip(workers, (names, names[::-1], names), strict=True):
        assert len(set(worker.call(indexes_in_cpythons_list, order))) == 2
