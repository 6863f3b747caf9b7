"""Type versions, by which CPython's caches know types: no two types of an interpreter share one."""

import textwrap

import pytest

PRELUDE = """
import ctypes, sys
import owngil

def version(kind):
    '''tp_version_tag, 384 bytes into a type on every Python with 64 bits; 0: none.'''
    flags = ctypes.c_ulong.from_address(id(kind) + 168).value
    if sys.version_info < (3, 13) and not flags & 1 << 19:
        return 0
    return ctypes.c_uint.from_address(id(kind) + 384).value

def is_immutable(kind):
    return ctypes.c_ulong.from_address(id(kind) + 168).value & 1 << 8 != 0

def is_shared(kind):
    return ctypes.c_ulong.from_address(id(kind) + 168).value & 1 << 1 != 0

def types():
    seen, left = {}, [object]
    while left:
        kind = left.pop()
        if id(kind) not in seen:
            seen[id(kind)] = kind
            left += type.__subclasses__(kind)
    return list(seen.values())

def check():
    '''Check that no two types share a version, and that types of all interpreters have one below 131072.'''
    from collections import Counter

    versions = Counter(version(kind) for kind in types() if version(kind))
    assert max(versions.values()) == 1, [kind for kind in types() if versions[version(kind)] > 1]
    assert 0 < version(int) < 131072, version(int)
    wrong = [kind for kind in types() if is_shared(kind) and version(kind) >= 131072]
    assert not wrong, wrong

def use_up():
    '''Take all versions that the process has for immutable types, as owngil does where CPython counts them unsafely.'''
    modify, assign = ctypes.pythonapi.PyType_Modified, ctypes.pythonapi.PyUnstable_Type_AssignVersionTag
    modify.argtypes = assign.argtypes = [ctypes.py_object]
    modify.restype, given = None, 1
    while given:
        class Some:  # a type may have 1,000
            pass
        flags = ctypes.c_ulong.from_address(id(Some) + 168)
        for _ in range(999):
            modify(Some)
            flags.value |= 1 << 8
            given = assign(Some)
            flags.value &= ~(1 << 8)
            if not given:
                break

if sys.version_info >= (3, 14):
    use_up()

assert version(int) and is_immutable(int) and is_shared(int) and not is_shared(owngil.Pool)
"""


@pytest.fixture
def checks(ends_cleanly):
    def run(source):
        return ends_cleanly(textwrap.dedent(PRELUDE) + textwrap.dedent(source))

    return run


def test_the_types_of_workers_have_versions_of_their_own_counter(checks):
    """From the process's counter, two types got one version if a worker was suspended while counting; and it ends."""
    checks("""
        def look(is_first):
            import array, collections, io, re
            import numpy

            check()
            assert numpy.ndarray.sum and numpy.ndarray.base
            kinds = [io.BufferedReader, io.FileIO, collections.deque, array.array, numpy.ndarray, numpy.ufunc]
            # A type in no module, and types that NumPy changes after making them, get their versions later.
            kinds += [] if is_first else [re.Pattern, numpy.float64, numpy.int8, type(numpy.dtype("f8"))]
            for kind in kinds:
                assert version(kind) >= 131072, (kind, version(kind))

        def count():
            '''How many types of a new worker have a version that another worker could have been given.'''
            return sum(0 < version(kind) < 131072 and not is_shared(kind) for kind in types())

        with owngil.Pool(4) as pool:
            pool.broadcast(look, True)
            pool.broadcast(look, False)
            assert pool.broadcast(count) == [0] * 4
        with owngil.Pool(2) as pool:
            assert pool.broadcast(count) == [0] * 2
            assert pool.submit(owngil.run, count).result() == 0
    """)


def test_main_gets_versions_for_types_that_it_imports_later(checks):
    checks("""
        assert owngil.run(abs, -1) == 1
        import numpy

        class Sub(numpy.ndarray):
            pass

        for _ in range(1000):
            numpy.ndarray.shape, Sub.shape
        assert version(numpy.ndarray) == version(Sub) == 0
        assert owngil.run(abs, -1) == 1
        for _ in range(1000):
            numpy.ndarray.shape, Sub.shape
        assert version(numpy.ndarray) and version(Sub)
        check()
    """)


def test_types_that_workers_share_take_no_versions_later(checks):
    """A static type of Python's own modules takes a version without checking whether one is left."""
    checks("""
        import importlib, os

        assert owngil.run(abs, -1) == 1
        folders = [path for path in sys.path if path.endswith("lib-dynload")]
        names = {name.split(".")[0] for folder in folders for name in os.listdir(folder)}
        for name in sorted(names | set(sys.builtin_module_names)):
            if "test" not in name and name != "_tkinter":
                try:
                    importlib.import_module(name)
                except ImportError as error:
                    print(name, error)
        assert owngil.run(abs, -1) == 1
        check()
        owngil.run(check)
    """)


def test_workers_have_type_caches_when_the_versions_are_used_up(checks):
    """Each worker took 27 of the 131,072 versions, and after 4,800 workers none was left for io, re and so on."""
    checks("""
        def look():
            import io
            return version(io.FileIO)

        with owngil.Pool(1) as pool:
            first = pool.submit(look).result()
        with owngil.Pool(2, max_tasks_per_child=1) as pool:
            assert set(pool.map(abs, [1] * 30, chunksize=1)) == {1}
            assert pool.submit(look).result() >= 131072 <= first
    """)
