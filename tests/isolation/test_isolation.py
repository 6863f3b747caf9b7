import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
from extensions import libraries

import owngil
from owngil._isolation import policy

SOURCE = Path(__file__).parents[1] / "extensions" / "statics.c"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


@pytest.fixture(scope="module")
def extensions(tmp_path_factory):
    """Build the test module in all its kinds, as a user's own packages outside site-packages."""
    folder = tmp_path_factory.mktemp("extensions")
    package = folder / "kinds"
    package.mkdir()
    (package / "__init__.py").touch()
    kinds = {
        "multi": [],
        "single": ["-DSINGLE_PHASE"],
        "failing": ["-DFAILING"],
        "noinit": ["-DNO_INIT"],
    }
    for name, options in kinds.items():
        libraries.compile_c(package / f"{name}{SUFFIX}", SOURCE, f"-DNAME={name}", *options)
    whole = (package / f"multi{SUFFIX}").read_bytes()
    (package / f"cut{SUFFIX}").write_bytes(whole[: len(whole) // 3])
    (package / f"text{SUFFIX}").write_text("not a library")
    (package / f"empty{SUFFIX}").touch()
    sys.path.insert(0, str(folder))
    yield package
    sys.path.remove(str(folder))


def use(name, times):
    import importlib

    module = importlib.import_module(f"kinds.{name}")
    for _ in range(times):
        module.bump()
    return module.bump(), module.last(), module.__name__, module.__file__, module.bump.__module__


@pytest.mark.parametrize("name", ["multi", "single"])
def test_each_worker_has_statics_of_its_own(extensions, name):
    workers = [owngil.Interpreter() for _ in range(4)]
    try:
        futures = [worker.submit(use, name, 100 * k) for k, worker in enumerate(workers)]
        path = str(extensions / f"{name}{SUFFIX}")
        for k, future in enumerate(futures):
            total = 100 * k + 1
            assert future.result() == (total, f"bumped {total}", f"kinds.{name}", path, f"kinds.{name}")
    finally:
        for worker in workers:
            worker.close()


def test_types_of_single_phase_modules_know_their_module(extensions, interpreter):
    def where():
        from kinds import single

        return single.Thing.__module__

    assert interpreter.call(where) == "kinds.single"


def test_single_phase_modules_find_themselves(extensions, interpreter):
    def same():
        from kinds import single

        return single.find() is single

    assert interpreter.call(same)


def test_an_exception_of_the_module_propagates(extensions, interpreter):
    with pytest.raises(LookupError, match="this module refuses"):
        interpreter.exec("import kinds.failing")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("noinit", "no function PyInit_noinit"),
        ("cut", "cut off|damaged"),
        ("text", "not an ELF file"),
        ("empty", "it is empty"),
    ],
)
def test_a_library_that_cannot_be_loaded_says_why(extensions, interpreter, name, reason):
    with pytest.raises(owngil.IsolationError, match=reason) as caught:
        interpreter.exec(f"import kinds.{name}")
    assert caught.value.name == f"kinds.{name}"
    assert caught.value.path == str(extensions / f"{name}{SUFFIX}")
    assert interpreter.call(abs, -1) == 1


def test_every_cut_of_a_library_is_refused_or_loads(extensions, tmp_path, ends_cleanly):
    """Damage must not crash the loader: load each prefix of a small library, and each with a changed header byte."""
    shutil.copy(extensions / f"multi{SUFFIX}", tmp_path / "whole.so")
    ends_cleanly("""
        import owngil

        def refused():
            import os
            from owngil._isolation import copies
            data = open("whole.so", "rb").read()
            count = 0
            for size in [0, 1, 15, 63, 64, 65, 100, *range(120, len(data) - 8000, 499)]:
                name = os.path.abspath(f"part{size}.so")
                with open(name, "wb") as file:
                    file.write(data[:size])
                try:
                    copies.load(name)
                except copies.LoadError:
                    count += 1
                else:
                    return False, size
            return True, count

        with owngil.Interpreter() as it:
            passed, count = it.call(refused)
            assert passed and count > 10
    """)


def test_a_module_that_python_cannot_share_says_so(interpreter):
    with pytest.raises(owngil.IsolationError, match="does not support sub-interpreters"):
        interpreter.exec("import readline")


def test_packages_that_cannot_work_are_refused(tmp_path, monkeypatch):
    (tmp_path / "cannot_work").mkdir()
    (tmp_path / "cannot_work" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))

    def refuse():
        from owngil._isolation import policy

        policy.REFUSED.update(cannot_work="it is a test", not_there="it is not there")

    with owngil.Interpreter() as it:
        it.call(refuse)
        with pytest.raises(owngil.IsolationError, match="cannot_work cannot be imported in a worker: it is a test"):
            it.exec("import cannot_work")
        with pytest.raises(ModuleNotFoundError):  # a missing module is missing, not refused
            it.exec("import not_there")


def test_the_policy():
    stdlib = policy._STDLIB[0]
    assert not policy.is_private("owngil._core", "/anywhere/owngil/_core.so")
    assert not policy.is_private("_json", f"{stdlib}lib-dynload/_json.so")
    assert policy.is_private("numpy.core", f"{stdlib}site-packages/numpy/core.so")
    assert policy.is_private("mine", "/home/me/mine.so")
    assert set(policy.IMPORT_FIRST) <= set(sys.modules)


def test_importing_numpy_gives_no_warning():
    with owngil.Interpreter() as it:

        def warned():
            import warnings

            with warnings.catch_warnings(record=True) as caught:
                import numpy

                assert numpy.ones(3).sum() == 3
            return [str(warning.message) for warning in caught]

        assert it.call(warned) == []


def test_text_of_the_copies_is_shared_with_the_file(interpreter):
    def mapped():
        import numpy

        path = numpy._core._multiarray_umath.__file__
        return [line.split()[1] for line in open("/proc/self/maps") if line.rstrip().endswith(path)]

    assert "r-xp" in interpreter.call(mapped)


def test_libraries_beside_the_modules_are_shared():
    def load():
        import numpy.linalg

        numpy.linalg.inv([[2.0]])

    with owngil.Interpreter() as one, owngil.Interpreter() as two:
        one.call(load)
        two.call(load)
        with open("/proc/self/maps") as maps:
            inodes = {line.split()[4] for line in maps if "openblas" in line and "numpy.libs" in line}
        assert len(inodes) == 1
