"""What owngil relies on inside Python and packages: docs/internals.md names things that exist, and they are there."""

import ast
import importlib
import re
import sys
import threading
from io import BytesIO
from pathlib import Path

import cloudpickle
import pytest

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
PACKAGE = ROOT / "src" / "owngil"
PAGE = (ROOT / "docs" / "internals.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| what owngil relies on")
]

ALWAYS = (3, 12)
# Names that the Python code takes from a module, the first Python that has each, and the file that uses it. Names with
# "()" are attributes of what the call returns.
PRIVATE_NAMES = [
    ("_ctypes", "dlclose", ALWAYS, "_isolation/ctypes_hook.py"),
    ("_ctypes", "dlopen", ALWAYS, "_isolation/ctypes_hook.py"),
    ("_imp", "_override_multi_interp_extensions_check", ALWAYS, "_isolation/import_hook.py"),
    ("_posixsubprocess", "fork_exec", ALWAYS, "_isolation/environment.py"),
    ("_signal", "getsignal", ALWAYS, "_worker/startup.py"),
    ("_tracemalloc", "start", ALWAYS, "_isolation/other_interpreters.py"),
    ("_tracemalloc", "stop", ALWAYS, "_isolation/other_interpreters.py"),
    ("asyncio.base_events", "BaseEventLoop._check_running", ALWAYS, "_worker/startup.py"),
    ("atexit", "_run_exitfuncs", ALWAYS, "_tasks/exit.py"),
    ("concurrent.futures._base", "LOGGER", ALWAYS, "_tasks/future.py"),
    ("concurrent.futures", "Future()._condition", ALWAYS, "_tasks/future.py"),
    ("concurrent.futures", "Future()._done_callbacks", ALWAYS, "_tasks/future.py"),
    ("concurrent.futures", "Future()._exception", ALWAYS, "_tasks/future.py"),
    ("concurrent.futures", "Future()._result", ALWAYS, "_tasks/future.py"),
    ("concurrent.futures", "Future()._state", ALWAYS, "_tasks/future.py"),
    ("concurrent.futures", "Future()._waiters", ALWAYS, "_tasks/future.py"),
    ("linecache", "_interactive_cache", (3, 14), "_caller/sources.py"),
    ("logging", "root._cache", ALWAYS, "_caller/logging.py"),
    ("multiprocessing.forkserver", "_forkserver._stop", ALWAYS, "_worker/processes.py"),
    (
        "multiprocessing.resource_tracker",
        "_resource_tracker._ensure_running_and_write",
        (3, 14),
        "_worker/processes.py",
    ),
    ("multiprocessing.resource_tracker", "_resource_tracker._fd", ALWAYS, "_worker/processes.py"),
    ("multiprocessing.resource_tracker", "_resource_tracker._stop", ALWAYS, "_worker/processes.py"),
    ("multiprocessing.resource_tracker", "_resource_tracker._write", (3, 14), "_worker/processes.py"),
    ("os", "_create_environ", (3, 14), "_isolation/environment.py"),
    ("os", "_exit", ALWAYS, "cli/doctor/probe.py"),
    ("os", "environb._data", ALWAYS, "_isolation/environment.py"),
    ("sys", "_current_exceptions", ALWAYS, "../core/bindings/other_interpreters.c"),
    ("sys", "_current_frames", ALWAYS, "../core/bindings/other_interpreters.c"),
    ("sys", "_getframe", ALWAYS, "_worker/warnings.py"),
    ("sys", "_xoptions", ALWAYS, "_isolation/cores.py"),
    ("threading", "RLock()._is_owned", ALWAYS, "_tasks/dispatcher.py"),
    ("threading", "Thread()._daemonic", ALWAYS, "_worker/main.py"),
    ("threading", "Thread()._wait_for_tstate_lock", ALWAYS, "_tasks/dispatcher.py"),
    ("threading", "_register_atexit", ALWAYS, "_tasks/exit.py"),
    ("threading", "_thread_local_info", (3, 13), "_worker/startup.py"),
    ("warnings", "_get_filters", (3, 14), "_caller/warnings.py"),
]
ONLY_BEFORE = {"Thread()._wait_for_tstate_lock": (3, 13)}
NUMPYS_NAMES = [
    ("_multiarray_umath", "_ARRAY_API", "_isolation/import_hook.py"),
    ("multiarray", "get_handler_name", "_wire/arrays.py"),
    ("numpy.ma", "masked._fill_value", "_wire/arrays.py"),
]


def find(module, path):
    found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part.removesuffix("()"))
        if part.endswith("()"):
            found = found()
    return found


def missing(module, path, file):
    """Return a sentence that says so if the name does not exist, else None."""
    try:
        find(module, path)
    except (AttributeError, ImportError) as error:
        return (
            f"Python {sys.version.split()[0]} has no {module}.{path}, which src/owngil/{file} uses ({error}):"
            " see docs/internals.md"
        )
    return None


@pytest.mark.parametrize(
    ("module", "path", "since", "file"), PRIVATE_NAMES, ids=[f"{module}.{path}" for module, path, _, _ in PRIVATE_NAMES]
)
def test_private_names_exist(module, path, since, file):
    assert path.removesuffix("()").rpartition(".")[2] in (PACKAGE / file).read_text(), (
        f"{file} does not use it any more"
    )
    if since <= sys.version_info < ONLY_BEFORE.get(path, (4,)):
        sentence = missing(module, path, file)
        assert sentence is None, sentence


def test_a_name_that_is_gone_is_told_by_a_sentence():
    assert missing("threading", "Thread()._gone", "_worker/main.py").startswith(
        f"Python {sys.version.split()[0]} has no threading.Thread()._gone, which src/owngil/_worker/main.py uses"
    )
    assert missing("_no_such_module", "name", "_worker/main.py") is not None


@pytest.mark.parametrize(("module", "name", "file"), NUMPYS_NAMES)
def test_private_names_of_numpy_exist(module, name, file):
    numpy = pytest.importorskip("numpy")
    core = "numpy._core" if hasattr(numpy, "_core") else "numpy.core"
    assert name.rpartition(".")[2] in (PACKAGE / file).read_text(), f"{file} does not use it any more"
    sentence = missing(module if module.startswith("numpy.") else f"{core}.{module}", name, file)
    assert sentence is None, sentence


def test_cloudpickle_reduces_functions_as_expected():
    here = {"__name__": "__main__", "used": 1}
    exec("def function():\n    return used", here)
    make, arguments, state, items, pairs, set_state = cloudpickle.Pickler(BytesIO()).reducer_override(here["function"])
    assert state[1]["__globals__"] == {"used": 1}
    assert (items, pairs) == (None, None)
    function = make(*arguments)
    set_state(function, state)
    assert function() == 1


def test_threads_take_the_attribute_that_is_set():
    """`Thread._daemonic` is assigned: a new name would be a new attribute, without an error."""
    thread = threading.Thread()
    thread._daemonic = True
    assert thread.daemon


def owngils_own(trees):
    """Return the private names that owngil's Python code itself defines."""
    own = set(re.findall(r"\b_[a-z]\w*", (PACKAGE / "_core.pyi").read_text()))
    for node in (node for tree in trees.values() for node in ast.walk(tree)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                own.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                own.add(name)
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=ast.Tuple(elts=names)):
                own |= {name.value for name in names}
    return own


def uses(node):
    """Return the private names that this part of the program looks up in an object."""
    match node:
        case ast.Attribute(attr=name):
            return {name}
        case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr"), args=[_, ast.Constant(value=name), *_]):
            return {str(name)}
    return set()


def test_all_private_names_are_in_the_tables():
    trees = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
    known = owngils_own(trees) | set(re.findall(r"\w+", " ".join(path for _, path, _, _ in PRIVATE_NAMES)))
    known |= {name.rpartition(".")[2] for _, name, _ in NUMPYS_NAMES} | {"_core", "_owngil_unfinished", "_make"}
    unknown = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {name}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        for name in uses(node)
        if re.match(r"_[^_]", name) and name not in known
    ]
    assert unknown == [], "add these to PRIVATE_NAMES and to docs/internals.md"


def test_the_page_names_the_private_names():
    paths = [path for _, path, _, _ in PRIVATE_NAMES] + [path for _, path, _ in NUMPYS_NAMES]
    names = {path.rpartition(".")[2] for path in paths}
    assert [name for name in sorted(names) if name not in PAGE] == []


def test_each_row_has_five_cells_and_files_that_exist():
    assert len(ROWS) > 50
    for row in ROWS:
        if set("".join(row)) == {"-"}:
            continue
        assert len(row) == 5, row
        files = re.findall(r"`([^`]+)`", row[1])
        assert files, row
        for file in files:
            assert (ROOT / "src" / "core" / file).is_file() or (PACKAGE / file).is_file(), file


def test_each_test_on_the_page_exists():
    named = set(re.findall(r"`(tests/[\w/]+\.py)((?:::\w+)*)`", PAGE))
    assert len(named) > 40
    for file, names in sorted(named):
        assert (ROOT / file).is_file(), file
        text = (ROOT / file).read_text()
        for name in names.split("::")[1:]:
            assert re.search(rf"^ *(async )?(def|class) {name}\b", text, re.MULTILINE), f"{file}{names}"


def test_each_row_has_a_guard_or_a_reason():
    for row in ROWS:
        assert row[3] or row[4], row
