import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from patience import HANGS_AFTER

TOOLS = Path(__file__).parents[2] / "tools"


class Machine:
    """A PATH and a HOME that hold only the files that a test puts there."""

    def __init__(self, folder):
        self.bin = folder / "bin"
        self.home = folder / "home"
        self.bin.mkdir()
        self.home.mkdir()
        for name in ("sh", "env", "cat", "dirname"):
            (self.bin / name).symlink_to(shutil.which(name))

    def script(self, path, text):
        path = self.bin / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def python(self, path, version):
        """Put a Python there: the Python of the tests, which reports some version."""
        pretender = self.home / "pretender.py"
        pretender.write_text(PRETENDER)
        return self.script(path, f'exec "{sys.executable}" "{pretender}" "$0" {version} "$@"')

    def find_python(self, *arguments, **variables):
        environment = {**os.environ, "PATH": str(self.bin), "HOME": str(self.home), **variables}
        if "PYTHON" not in variables:
            environment.pop("PYTHON", None)  # make exports it
        return subprocess.run(
            [TOOLS / "find-python", *arguments], env=environment, capture_output=True, text=True, timeout=HANGS_AFTER
        )


# Import the modules first: they find their files by the version.
PRETENDER = """
import collections, ensurepip, sys, sysconfig, venv
sysconfig.get_config_vars()
_, sys.executable, version, option, *arguments = sys.argv
Version = collections.namedtuple("Version", "major minor micro releaselevel serial")
sys.version_info = Version(*map(int, version.split(".")), 0, "final", 0)
source = sys.stdin.read() if option == "-" else arguments.pop(0)
sys.argv = [option, *arguments]
exec(source)
"""


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def assert_found(done, path):
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}\n", "")


def test_the_python_that_is_named_is_taken(machine):
    machine.python("python3.14", "3.14")
    assert_found(machine.find_python(PYTHON=sys.executable), sys.executable)


def test_a_python_may_be_named_without_its_folder(machine):
    path = machine.python("my-python", "3.12")
    assert_found(machine.find_python(PYTHON="my-python"), path)


@pytest.mark.parametrize("code", [0, 1])
def test_a_named_python_that_is_none_is_refused(machine, code):
    machine.python("python3.14", "3.14")
    path = machine.script("python", f"echo nonsense; echo more >&2; exit {code}")
    done = machine.find_python(PYTHON=str(path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"PYTHON={path} ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("version", ["3.11", "3.16"])
def test_a_named_python_of_another_version_is_refused(machine, version):
    done = machine.find_python(PYTHON=str(machine.python("python", version)))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_a_named_python_that_is_not_there_is_refused(machine):
    done = machine.find_python(PYTHON="/nonesuch/python")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_the_newest_on_the_path_is_taken(machine):
    for minor in (12, 14, 13):
        machine.python(f"python3.{minor}", f"3.{minor}")
    assert_found(machine.find_python(), machine.bin / "python3.14")


def test_a_python_of_another_version_than_its_name_is_passed_over(machine):
    machine.python("python3.15", "3.11")
    right = machine.python("python3.12", "3.12")
    assert_found(machine.find_python(), right)


def test_a_python_of_pyenv_is_found(machine):
    path = machine.python(machine.home / ".pyenv/versions/3.13.7/bin/python3.13", "3.13")
    assert_found(machine.find_python(), path)


def test_a_version_is_found(machine):
    for minor in (12, 13, 14):
        machine.python(f"python3.{minor}", f"3.{minor}")
    assert_found(machine.find_python("3.13"), machine.bin / "python3.13")


def test_a_version_that_is_not_there_is_no_error(machine):
    machine.python("python3.12", "3.12")
    done = machine.find_python("3.13")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_advice_if_nothing_is_found(machine):
    machine.python("python3", "3.11")
    machine.script("python3.13", "echo nonsense; exit 1")
    done = machine.find_python()
    assert (done.returncode, done.stdout) == (1, "")
    for way in ("uv python install", "pyenv install", "make PYTHON="):
        assert way in done.stderr


def test_uv_is_the_last_resort(machine):
    path = machine.python(machine.home / "from-uv/python3.14", "3.14")
    cases = f'"python install 3.14") ;; "python find 3.14") echo "{path}" ;; *) exit 1'
    machine.script("uv", f'case "$1 $2 $3" in {cases}; esac')
    assert_found(machine.find_python(), path)


def test_uv_is_not_asked_if_there_is_a_python(machine):
    machine.script("uv", "echo asked >&2; exit 1")
    path = machine.python("python3.12", "3.12")
    assert_found(machine.find_python(), path)


def test_advice_if_uv_fails(machine):
    machine.script("uv", "echo no network >&2; exit 1")
    done = machine.find_python()
    assert (done.returncode, done.stdout) == (1, "")
    assert "make PYTHON=" in done.stderr


@pytest.fixture
def check_skips(tmp_path):
    def check(*reports):
        """Run check-skips on JUnit reports, each from a dict of test name and whether it was skipped."""
        paths = [tmp_path / f"report-{k}.xml" for k in range(len(reports))]
        for path, report in zip(paths, reports, strict=True):
            cases = "".join(
                f'<testcase classname="tests.test_a" name={quoteattr(name)} time="0.1">'
                + '<skipped type="pytest.skip" message="no moon">test_a.py:1: no moon</skipped>' * skipped
                + "</testcase>"
                for name, skipped in report.items()
            )
            path.write_text(f'<?xml version="1.0"?><testsuites><testsuite>{cases}</testsuite></testsuites>')
        return subprocess.run(
            [sys.executable, TOOLS / "check-skips", *paths], capture_output=True, text=True, timeout=HANGS_AFTER
        )

    return check


def test_a_test_skipped_everywhere_fails(check_skips):
    done = check_skips({"test_a[<x>]": True, "test_b": False}, {"test_a[<x>]": True, "test_b": True})
    assert done.returncode == 1
    assert "tests.test_a::test_a[<x>]" in done.stderr
    assert "test_b" not in done.stderr


def test_a_test_that_ran_somewhere_passes(check_skips):
    done = check_skips({"test_a": True, "test_b": False}, {"test_a": False, "test_b": True})
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(": ")[2] for line in done.stdout.splitlines()] == ["1 passed, 0 xfailed, 1 skipped"] * 2


def test_one_report_is_enough(check_skips):
    assert check_skips({"test_a": False}).returncode == 0
    assert check_skips({"test_a": True}).returncode == 1


def test_a_test_that_was_expected_to_fail_has_run(tmp_path):
    (tmp_path / "test_a.py").write_text(
        "import pytest\n"
        "@pytest.mark.xfail(strict=True)\n"
        "def test_a(): assert False\n"
        "@pytest.mark.skip\n"
        "def test_b(): pass\n"
        "def test_c(): pass\n"
    )
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", tmp_path]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=HANGS_AFTER)
    done = subprocess.run(
        [sys.executable, TOOLS / "check-skips", report], capture_output=True, text=True, timeout=HANGS_AFTER
    )
    assert done.stdout == f"{report}: 1 passed, 1 xfailed, 1 skipped\n"
    assert done.stderr == "skipped on every Python:\n  test_a::test_b\n"


def test_no_report_fails(check_skips):
    done = check_skips()
    assert (done.returncode, done.stderr) == (1, "no report to check\n")


# Stand-ins for the tools that test-all calls. Each test writes a report; `skip` says whether it was skipped.
STAND_INS = {
    "pyo3-crates": "exit 1",
    "find-python": f"""[ $# != 0 ] || {{ echo "{sys.executable}"; exit; }}; grep "python$1$" "$HERE/pythons" """,
    "in-forky": """[ ! -e "$HERE/no-forky" ] || exit 1; exec "$@" """,
    "make": r"""
        for word; do
            case $word in REPORT=*) report=${word#*=} ;; PYTHON=*) version=${word#*python} ;; esac
        done
        echo "$version" >>"$HERE/tested"
        mkdir -p "$(dirname "$report")"
        cp "$HERE/report.xml" "$report"
        ! grep -q "$version" "$HERE/failing"
    """,
}


@pytest.fixture
def run_all(tmp_path):
    """Run tools/test-all with stand-ins; `pythons` are the machine's, `failing` those on which a test fails."""
    (tmp_path / "tools").mkdir()
    for name in ("test-all", "check-skips"):
        shutil.copy(TOOLS / name, tmp_path / "tools")
    for name, text in STAND_INS.items():
        path = tmp_path / ("make" if name == "make" else f"tools/{name}")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(*, pythons=("3.12", "3.13"), failing=(), forky=True, skip="", **variables):
        (tmp_path / "pythons").write_text("".join(f"/usr/bin/python{version}\n" for version in pythons))
        (tmp_path / "failing").write_text("\n".join(failing) or "none")
        (tmp_path / "tested").write_text("")
        (tmp_path / "report.xml").write_text(
            f'<testsuites><testcase classname="a" name="b">{skip}</testcase></testsuites>'
        )
        if not forky:
            (tmp_path / "no-forky").touch()
        variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HERE": str(tmp_path), **variables}
        environment = {name: text for name, text in os.environ.items() if name not in ("TESTED", "REPORT")}
        done = subprocess.run(
            ["tools/test-all"], cwd=tmp_path, env={**environment, **variables}, capture_output=True, text=True,
            timeout=HANGS_AFTER,
        )  # fmt: skip
        return done, (tmp_path / "tested").read_text().split()

    run.folder = tmp_path
    return run


def test_each_python_is_tested(run_all):
    done, tested = run_all()
    assert (done.returncode, tested) == (0, ["3.12", "3.13", "3.14", "3.15"])
    assert done.stdout.count("1 passed") == 4


def test_a_python_with_a_report_is_not_tested_again(run_all):
    reports = run_all.folder / ".venvs" / "reports"
    reports.mkdir(parents=True)
    (reports / "3.13.xml").write_text('<testsuites><testcase classname="a" name="b"/></testsuites>')
    done, tested = run_all(TESTED="3.13")
    assert (done.returncode, tested) == (0, ["3.12", "3.14", "3.15"])
    assert done.stdout.count("1 passed") == 4


def test_a_report_that_is_missing_fails(run_all):
    done, _ = run_all(TESTED="3.13")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "Failed, or missing, on Python 3.13")


def test_the_other_pythons_are_tested_when_one_fails(run_all):
    done, tested = run_all(failing=["3.12"])
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "Failed, or missing, on Python 3.12")
    assert tested == ["3.12", "3.13", "3.14", "3.15"]


def test_a_python_that_is_missing_fails(run_all):
    done, tested = run_all(forky=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "Failed, or missing, on Python 3.14 3.15")
    assert tested == ["3.12", "3.13"]


def test_a_test_that_is_skipped_on_each_python_fails(run_all):
    done, _ = run_all(skip='<skipped type="pytest.skip"/>')
    assert (done.returncode, done.stderr.splitlines()[-2:]) == (1, ["skipped on every Python:", "  a::b"])
