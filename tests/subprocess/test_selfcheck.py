"""What owngil checks of Python at import: each check is made to fail, by other bytes in the process's memory."""

import platform
import sys

import pytest

VERSION = "{}.{}.{}".format(*sys.version_info[:3])
MINOR = "{}.{}".format(*sys.version_info[:2])

PATCHING = """
    import _imp, contextlib, ctypes, importlib.machinery, importlib.util, mmap, os, sys

    libc = ctypes.CDLL(None)
    START = "import"

    @contextlib.contextmanager
    def patched(address, data):
        start = address & -mmap.PAGESIZE
        former = ctypes.string_at(address, len(data))
        everything = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        assert libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(address + len(data) - start), everything) == 0
        ctypes.memmove(address, data, len(data))
        try:
            yield
        finally:
            ctypes.memmove(address, former, len(data))

    def variable(name):
        return ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, name))

    def function(name, library=ctypes.pythonapi):
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value

    # Only the core's own code runs while Python is patched.
    owner = importlib.machinery.PathFinder.find_spec("owngil")
    found = importlib.machinery.PathFinder.find_spec("owngil._core", owner.submodule_search_locations)
    core = importlib.util.module_from_spec(found)

    def attempt(address, data):
        try:
            with patched(address, data):
                _imp.exec_dynamic(core)
        except ImportError as error:
            print(error)
        else:
            print(*core.missing_parts(), sep="\\n")
"""
# Headers before 3.13 name another function.
PARSE = "_PyArg_ParseTupleAndKeywordsFast" + ("" if sys.version_info >= (3, 13) else "_SizeT")
RETURN_0, RETURN_1 = r"b'\x31\xc0\xc3'", r"b'\xb8\x01\x00\x00\x00\xc3'"
patches_code = pytest.mark.skipif(platform.machine() != "x86_64", reason="the patch is machine code of x86-64")


def refused(reason):
    return (
        f"owngil cannot work with this build of Python {VERSION}, because {reason}:"
        " use another build of Python or a newer owngil\n"
    )


@pytest.fixture
def attempt(ends_cleanly):
    def run(address, data, before=""):
        return ends_cleanly(f"{PATCHING}\n{before}\n    attempt({address}, {data})")

    return run


def untested(version):
    return (
        f"owngil is tested up to Python 3.15, and this is Python {version}: use an older Python or a newer owngil,"
        " or set OWNGIL_UNTESTED_PYTHON=1 to try it all the same\n"
    )


def test_nothing_is_missing_in_a_python_as_it_should_be(ends_cleanly):
    assert ends_cleanly("import owngil; from owngil import _core; print(_core.missing_parts())") == "()\n"


@pytest.mark.parametrize(("version", "number"), [("3.16", 0x031000A1), ("4.0", 0x04000000)])
def test_a_python_that_is_not_tested(attempt, monkeypatch, version, number):
    assert attempt('variable("Py_Version")', f"({number}).to_bytes(4, 'little')") == untested(version)
    monkeypatch.setenv("OWNGIL_UNTESTED_PYTHON", "0")
    assert attempt('variable("Py_Version")', f"({number}).to_bytes(4, 'little')") == untested(version)
    monkeypatch.setenv("OWNGIL_UNTESTED_PYTHON", "1")
    assert attempt('variable("Py_Version")', f"({number}).to_bytes(4, 'little')") == (
        f"owngil was built for Python {MINOR}, and this is Python {version}: install owngil again with this Python\n"
    )


def test_a_python_that_it_was_not_built_for(attempt):
    assert attempt('variable("Py_Version")', "(0x030b00f0).to_bytes(4, 'little')") == (
        f"owngil was built for Python {MINOR}, and this is Python 3.11: install owngil again with this Python\n"
    )


@patches_code
def test_the_current_thread(attempt):
    name = "PyThreadState_GetUnchecked" if sys.version_info >= (3, 13) else "_PyThreadState_UncheckedGet"
    assert attempt(f'function("{name}")', RETURN_0) == refused(
        "PyThreadState_GetUnchecked() does not return the current thread's state"
    )


def test_shared_objects_that_are_counted(attempt):
    assert attempt("id(...)", "(5).to_bytes(4, 'little')") == refused(
        "it counts references to Ellipsis, which interpreters share without a lock"
    )


FREE_PAIR = """
    main = ctypes.pythonapi.PyInterpreterState_Main
    main.restype = ctypes.c_void_p
    pair = 2 * main().to_bytes(8, "little")
    runtime = variable("_PyRuntime")
    beginning = ctypes.string_at(runtime, 1 << 16)
    free = next(at for at in range(0, 1 << 16, 16) if beginning[at:at + 16] == bytes(16))
"""


DAMAGES = [("runtime + free", "pair")]  # a second place that looks like the list
if sys.version_info >= (3, 13):  # the table for debuggers: its cookie, version and offset
    DAMAGES = [("runtime", "b'elsewhere'"), ("runtime + 8", "bytes(8)"), ("runtime + 40", "free.to_bytes(8, 'little')")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_list_of_interpreters(attempt, damage):
    assert attempt(*damage, FREE_PAIR) == refused("its list of interpreters is not where owngil looks for it")


@patches_code
def test_the_number_of_a_thread(attempt):
    assert attempt('function("pthread_getcpuclockid", libc)', RETURN_1) == refused(
        "the number of a thread's clock does not contain the thread's number on this system"
    )


@pytest.mark.parametrize("damage", ["a shared type lacks it", "a class has it"])
def test_the_flag_of_shared_types(attempt, damage):
    name = "type(...)" if damage == "a shared type lacks it" else "importlib.machinery.ModuleSpec"
    before = f"""
    flags = id({name}) + 168
    assert ctypes.c_ulong.from_address(flags).value == {name}.__flags__
    """
    reason = "the flag of types that interpreters share is another bit"
    assert attempt("flags", f"({name}.__flags__ ^ 2).to_bytes(8, 'little')", before) == (
        refused(reason)
        if sys.version_info < (3, 14)
        else f"After some thousand workers, attributes of extension types are not cached: {reason}.\n"
    )


@patches_code
def test_the_list_of_keyword_parsers(attempt):
    assert attempt(f'function("{PARSE}")', RETURN_1) == (
        refused("its list of keyword parsers is not as expected")
        if sys.version_info < (3, 12, 4)
        else "Private copies of extension modules that parse keywords stay when their worker ends: CPython's list of"
        " keyword parsers is not as expected.\n"
    )


@patches_code
@pytest.mark.skipif(sys.version_info < (3, 12, 4), reason="owngil refuses Python 3.12.0 to 3.12.3 then")
def test_work_without_the_list_of_keyword_parsers(ends_cleanly):
    """A private copy whose parsers cannot be taken out of the list stays: at exit, CPython walks the list."""
    printed = ends_cleanly(
        PATCHING
        + f"""
    with patched(function("{PARSE}"), {RETURN_1}):
        import owngil

    def use():
        import _ctypes
        return _ctypes.__name__

    with owngil.Interpreter() as it:
        print(it.call(use))
    with open("/proc/self/maps") as maps:
        print("owngil:_ctypes" in maps.read())
    """
    )
    assert printed == "_ctypes\nTrue\n"


@pytest.mark.parametrize("setting", [{"PYTHONMALLOC": "malloc"}, {"PYTHONTRACEMALLOC": "1"}])
def test_another_allocator(ends_cleanly, monkeypatch, setting):
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    assert ends_cleanly("import owngil; from owngil import _core; print(*_core.missing_parts())") == (
        "A closed worker leaves objects of more than 512 bytes that C code still holds: another allocator is in place"
        " (PYTHONMALLOC, tracemalloc or a package's).\n"
    )


def test_an_import_that_was_refused_can_be_repeated(ends_cleanly):
    printed = ends_cleanly(
        PATCHING
        + """
    attempt(id(...), (5).to_bytes(4, "little"))
    import owngil
    print(owngil.run(abs, -1))
    """
    )
    assert printed.splitlines()[1:] == ["1"]
