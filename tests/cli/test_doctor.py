import json
import os
import signal
import subprocess
import sys
import textwrap
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from extensions import libraries
from patience import HANGS_AFTER, wait_until

import owngil
from owngil.cli import main

COMMAND = [sys.executable, "-m", "owngil", "doctor"]

# A module that works in the main interpreter and misbehaves in workers; each of its names misbehaves in another way.
SICK = r"""
    #include <Python.h>
    #include <pthread.h>
    #include <signal.h>

    static struct PyModuleDef_Slot slots[] = {
    #ifdef Py_mod_multiple_interpreters
        {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    #endif
        {0, NULL}
    };
    static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = "sick", .m_slots = slots};

    static int in_worker(void) { return PyInterpreterState_Get() != PyInterpreterState_Main(); }

    PyMODINIT_FUNC PyInit_aborts(void)
    {
        if (in_worker()) {
            fputs("something is corrupt\n", stderr);
            abort();
        }
        return PyModuleDef_Init(&def);
    }

    PyMODINIT_FUNC PyInit_faults(void)
    {
        if (in_worker()) {
            raise(SIGSEGV);
        }
        return PyModuleDef_Init(&def);
    }

    PyMODINIT_FUNC PyInit_hangs(void)
    {
        static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
        static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
        if (in_worker()) {
            pthread_mutex_lock(&mutex);
            for (;;) {
                pthread_cond_wait(&cond, &mutex);
            }
        }
        return PyModuleDef_Init(&def);
    }

    PyMODINIT_FUNC PyInit_refuses(void)
    {
        if (in_worker()) {
            PyErr_SetString(PyExc_RuntimeError, "not in here");
            return NULL;
        }
        return PyModuleDef_Init(&def);
    }

    /* As pybind11 does: the ImportError's cause is the real error. */
    PyMODINIT_FUNC PyInit_wants_terminal(void)
    {
        PyObject *readline = in_worker() ? PyImport_ImportModule("readline") : PyList_New(0);
        if (readline == NULL) {
            PyObject *cause = PyErr_GetRaisedException();
            PyErr_SetString(PyExc_ImportError, "initialization failed");
            PyObject *error = PyErr_GetRaisedException();
            PyException_SetCause(error, cause);
            PyErr_SetRaisedException(error);
            return NULL;
        }
        Py_DECREF(readline);
        return PyModuleDef_Init(&def);
    }

    PyMODINIT_FUNC PyInit_works(void) { return PyModuleDef_Init(&def); }
"""


@pytest.fixture(scope="module")
def sick(tmp_path_factory):
    """Build the module."""
    folder = tmp_path_factory.mktemp("sick")
    source, built = folder / "sick.c", folder / "sick.so"
    source.write_text(textwrap.dedent(SICK))
    return libraries.compile_c(built, source)


@pytest.fixture
def make(tmp_path, monkeypatch, sick):
    """Make an importable package from the text of its files and the names of its extension modules."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def make(name, extensions=(), **files):
        for file, text in {"__init__": "", **files}.items():
            path = site / name / f"{file.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        for extension in extensions:
            path = site / name / f"{extension}{EXTENSION_SUFFIXES[0]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sick.read_bytes())
        return name

    make.site = site
    return make


def exit_code(*arguments):
    try:
        return main(["doctor", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code


@pytest.fixture
def doctor(capsys):
    """Run the command; return its exit code and what it printed."""

    def doctor(*arguments):
        code = exit_code(*arguments)
        out, err = capsys.readouterr()
        assert err == ""
        if "--json" not in arguments and "-v" not in arguments:
            assert max(map(len, out.splitlines())) <= 100
        return code, out

    return doctor


@pytest.fixture
def examine(doctor):
    """Examine one package; return the exit code and the JSON's record of it."""

    def examine(*arguments):
        code, out = doctor("--json", *arguments)
        (result,) = json.loads(out)["packages"]
        return code, result

    return examine


# Packages that work


def test_numpy_works(examine):
    code, result = examine("numpy")
    assert (code, result["verdict"], result["reason"], result["failures"]) == (0, "ok", None, [])
    assert result["version"] == __import__("numpy").__version__
    modules = {module["name"]: module for module in result["extension_modules"]}
    core = modules["numpy._core._multiarray_umath"]
    assert (core["phase"], core["loaded"], core["own"]) == ("multi-phase", "private", True)
    assert "numpy.random.mtrand" in modules
    assert not any(name == "math" or name.startswith("_") for name in modules)  # modules of the standard library
    assert all(set(library) == {"path", "private", "reason"} for library in result["libraries"])
    assert 0 < result["memory_import"] <= result["memory_all"] < 2**30
    assert 0 < result["seconds"] < 100


def test_the_table(doctor, make):
    make("plain")
    code, out = doctor("numpy", "plain")
    assert code == 0
    about, _, _, head, numpy, plain, _, summary = out.splitlines()
    assert about.startswith(f"owngil {owngil.__version__}, Python {sys.version_info.major}.")
    assert head.split() == ["package", "version", "multi", "single", "private", "shared", "new", "worker", "seconds",
                            "verdict"]  # fmt: skip
    name, version, multi, *_, verdict = numpy.split()
    assert (name, version, verdict) == ("numpy", __import__("numpy").__version__, "ok")
    assert int(multi) > 5
    assert [plain.split()[k] for k in (0, 1, 2, 3, 4, 5, -1)] == ["plain", "-", "0", "0", "0", "0", "ok"]
    assert summary == "2 of 2 work in several workers at once."


def test_verbose_lists_modules_and_libraries(doctor):
    code, out = doctor("-v", "numpy")
    assert code == 0
    assert "    numpy._core._multiarray_umath: multi-phase, private copy\n" in out


def test_json_has_all_keys(doctor, make):
    make("plain")
    code, out = doctor("plain", "--json")
    told = json.loads(out)
    assert code == 0
    assert set(told) == {"schema", "owngil", "python", "platform", "missing", "ok", "packages"}
    assert (told["schema"], told["owngil"], told["ok"]) == (1, owngil.__version__, True)
    (result,) = told["packages"]
    assert set(result) == {
        "package", "version", "verdict", "reason", "advice", "notes", "imports", "extension_modules", "libraries",
        "lasting_threads", "memory_import", "memory_all", "seconds", "failures", "signal", "last_modules", "stacks",
        "output",
    }  # fmt: skip
    assert result["imports"] == ["plain"]


def test_extension_modules_are_found_on_disk(examine, make):
    make("deep", ["inner/works", "tests/aborts", "lib.d/aborts"])
    (make.site / "deep" / "works_not.so").write_bytes(b"no module")
    code, result = examine("deep")
    assert code == 0
    assert [(module["name"], module["phase"]) for module in result["extension_modules"]] == [
        ("deep.inner.works", "multi-phase")
    ]


def test_a_packages_output_does_not_garble_the_table(make, doctor):
    make("loud", __init__="import os, sys, warnings\nprint('LOUD')\nos.write(1, b'LOUD')\nwarnings.warn('LOUD')\n")
    code, out = doctor("loud")
    assert code == 0
    assert "LOUD" not in out


def test_a_terminal_shows_progress(make, monkeypatch, capsys):
    make("plain")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert exit_code("plain") == 0
    assert capsys.readouterr().err == "1/1 plain ...\r\x1b[K"


# Names


def make_distribution(site, name, version, modules):
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{module},,\n" for module in modules))


@pytest.mark.parametrize("name", ["Some-Thing", "some_thing", "one"])
def test_a_distribution_or_a_module(make, examine, name):
    for module in ("one", "two", "_hidden", "tests"):
        make(module, __init__="raise ValueError" if module in ("_hidden", "tests") else "")
    make_distribution(make.site, "Some-Thing", "1.5", [f"{m}/__init__.py" for m in ("one", "two", "_hidden", "tests")])
    code, result = examine(name)
    assert (code, result["version"]) == (0, "1.5")
    assert result["imports"] == (["one"] if name == "one" else ["one", "two"])


def test_a_distribution_imports_only_its_own_part_of_a_namespace(make, examine):
    files = ["shared_space/mine/__init__.py", "shared_space/mine/more.py", "shared_space/single.py"]
    for file in [*files, "shared_space/others/__init__.py"]:
        path = make.site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("raise ValueError" if "others" in file else "")
    make_distribution(make.site, "mine", "1", files)
    code, result = examine("mine")
    assert (code, result["imports"]) == (0, ["shared_space.mine", "shared_space.single"])


def test_finding_imports_nothing(make, examine):
    make("parent", __init__=f"import os; open({str(make.site / 'log')!r}, 'a').write(f'{{os.getpid()}} ')", child="")
    code, _ = examine("parent.child")
    assert code == 0
    assert str(os.getpid()) not in (make.site / "log").read_text().split()


# Packages that do not work


@pytest.mark.parametrize(("name", "expected"), [("aborts", "SIGABRT"), ("faults", "SIGSEGV")])
def test_a_crash_is_reported(make, examine, name, expected):
    make("sick", [name])
    code, result = examine("sick")
    assert (code, result["verdict"], result["signal"]) == (1, "crashes", expected)
    assert result["last_modules"] == [f"sick.{name}"]
    assert expected in result["reason"]
    assert "two workers at once" in result["reason"]
    assert f"sick.{name}" in result["reason"]
    assert ("something is corrupt" in result["reason"]) == (name == "aborts")
    assert "_import" in result["stacks"]
    assert "main interpreter" in result["advice"]
    assert result["notes"] == []


def test_a_hang_ends_with_stacks(make, doctor):
    make("sick", __init__="def wait():\n    from sick import hangs\nwait()\n", extensions=["hangs"])
    code, out = doctor("-v", "--timeout", 10, "sick")
    assert code == 1
    assert "hangs\n" in out
    assert "the last module was sick.hangs" in " ".join(out.split())
    assert "in wait\n" in out


def test_an_error_in_workers_only(make, examine):
    make("sick", ["refuses"])
    code, result = examine("sick")
    assert (code, result["verdict"]) == (1, "fails")
    assert result["reason"] == "sick.refuses: RuntimeError: not in here"
    (failure,) = result["failures"]
    assert (failure["module"], failure["workers"], failure["in_main"]) == ("sick.refuses", [1, 2], False)
    assert "main interpreter" in result["advice"]


def test_a_part_that_is_refused_leaves_the_rest_usable(make, examine, doctor):
    make("mostly", ["works", "wants_terminal"])
    code, result = examine("mostly")
    assert (code, result["verdict"]) == (0, "partly")
    assert result["reason"].startswith("mostly.wants_terminal: readline cannot be imported in a worker")
    (failure,) = result["failures"]
    assert (failure["error"], failure["message"]) == ("ImportError", "initialization failed")
    assert failure["refused"] in result["reason"]
    assert "1 of 1 works in several workers at once, but for parts of 1." in doctor("mostly")[1]


def test_a_package_that_is_refused_itself_fails(make, examine):
    make("terminal", ["wants_terminal"], __init__="from terminal import wants_terminal")
    code, result = examine("terminal")
    assert (code, result["verdict"]) == (1, "fails")
    assert result["reason"].startswith("terminal: readline cannot be imported in a worker")


def test_an_optional_extension_that_misses_something_is_a_note(make, examine):
    make("half", optional__in____init__="import nonesuch", extensions=["works", "optional/works"])
    code, result = examine("half")
    assert (code, result["verdict"], result["reason"]) == (0, "ok", None)
    (note,) = result["notes"]
    assert "half.optional.works also fails in the main interpreter" in note
    assert "nonesuch" in note


def test_a_failure_in_the_main_interpreter_too_is_not_owngils_fault(make, examine):
    make("broken", __init__="raise ValueError(f'at {object()}')", extensions=["aborts"])
    code, result = examine("broken")
    assert (code, result["verdict"]) == (0, "broken")
    assert result["failures"][0]["in_main"]
    assert "also fails in the main interpreter" in result["notes"][0]


def test_a_crash_in_the_main_interpreter_too_is_not_owngils_fault(make, examine):
    make("broken", __init__="import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    code, result = examine("broken")
    assert (code, result["verdict"], result["signal"]) == (0, "broken", "SIGKILL")


def test_a_crash_at_the_end_counts(make, examine):
    make("late", __init__="""
        import atexit, os
        from owngil import _core
        if _core.in_worker():
            atexit.register(os.abort)
    """)  # fmt: skip
    code, result = examine("late")
    assert (code, result["verdict"], result["signal"]) == (1, "crashes", "SIGABRT")
    assert "while the workers closed" in result["reason"]


def test_a_thread_that_outlives_its_worker_is_named(make, examine):
    """The doctor names the thread's library, because it keeps the memory of closed workers."""
    built = libraries.compile_c(
        make.site / f"lasting{EXTENSION_SUFFIXES[0]}", Path(__file__).parents[1] / "extensions" / "lasting.c"
    )
    code, result = examine(make("lingers", __init__="import lasting; lasting.start('pthread')"))
    assert (code, result["verdict"], result["lasting_threads"]) == (0, "ok", [str(built)])
    assert result["notes"] == [
        f"A thread of {built.name} goes on when its worker is closed: the worker's memory stays."
    ]


def test_one_failure_does_not_stop_the_others(make, doctor):
    make("sick", ["aborts"])
    make("plain")
    code, out = doctor("sick", "plain")
    assert code == 1
    assert [line.split()[0] for line in out.splitlines() if line.endswith((" ok", " crashes"))] == ["sick", "plain"]
    assert out.endswith("1 of 2 works in several workers at once; 1 does not.\n")


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_processes_that_a_package_starts_are_ended(make, examine):
    pid = make.site / "pid"
    make("starter", __init__=f"""
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        open({str(pid)!r}, "w").write(str(child.pid))
    """)  # fmt: skip
    code, _ = examine("starter")
    assert code == 0
    wait_until(lambda: not is_alive(pid.read_text()))  # the process may outlive the signal for a moment


# Bad input


@pytest.mark.parametrize(
    "arguments",
    [["nosuchpackage"], [""], ["no such"], ["numpy.nosuch"], ["--timeout", "0", "numpy"], ["--timeout", "nan", "numpy"],
     ["--all", "numpy"], ["--nonesuch"]],
    ids=" ".join,
)  # fmt: skip
def test_bad_input_is_refused(capsys, arguments):
    assert exit_code(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("owngil")
    assert err.count("\n") == 1


def test_a_package_that_is_not_installed_is_named(capsys):
    assert exit_code("numpy", "nosuchpackage") == 2
    assert "'nosuchpackage'" in capsys.readouterr().err


# Ctrl-C


def test_ctrl_c_ends_the_children(make):
    pids = make.site / "pids"
    os.mkfifo(pids)
    make("endless", __init__=f"""
        import os, time
        with open({str(pids)!r}, "w") as file:
            print(os.getpid(), file=file)
        time.sleep(1000)
    """)  # fmt: skip
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # sh makes background programs ignore SIGINT
    try:
        command = subprocess.Popen(
            [*COMMAND, "endless"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(make.site)},
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with open(pids) as file:
        child = int(file.readline())
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=HANGS_AFTER)
    assert (command.returncode, err) == (130, "owngil doctor: interrupted\n")
    assert not Path(f"/proc/{child}").exists()


def test_what_owngil_does_without(monkeypatch):
    sentence = (
        "A closed worker leaves objects of more than 512 bytes that C code still holds: another allocator is in place"
        " (PYTHONMALLOC, tracemalloc or a package's)."
    )
    for value, missing in (("malloc", [sentence]), ("", [])):
        monkeypatch.setenv("PYTHONMALLOC", value)
        if not value:
            monkeypatch.delenv("PYTHONMALLOC")
        text = subprocess.check_output([*COMMAND, "cloudpickle"], text=True, timeout=HANGS_AFTER)
        assert (sentence in " ".join(text.split())) == bool(missing)
        data = json.loads(subprocess.check_output([*COMMAND, "--json", "cloudpickle"], text=True, timeout=HANGS_AFTER))
        assert data["missing"] == missing
