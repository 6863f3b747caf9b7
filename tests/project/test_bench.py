import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from patience import HANGS_AFTER, wait_until

import owngil

BENCHMARKS = next(folder / "benchmarks" for folder in Path(__file__).parents if (folder / "benchmarks").is_dir())
sys.path.insert(0, str(BENCHMARKS))
from bench import main  # noqa: E402
from executors import report, runs  # noqa: E402
from executors.measures import LENGTHS, MEASURES  # noqa: E402
from executors.runs import Run, measure  # noqa: E402

SETTINGS = {"sizes": [1], "scaling": [1, 2]}


@pytest.fixture
def bench(capsys):
    """Run the command; return its exit code and what it printed."""

    def bench(*arguments):
        try:
            code = main([*map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return bench


# Real measurements


@pytest.mark.slow
def test_all_measures_of_owngil():
    run = measure("owngil", 2, list(MEASURES), SETTINGS, 300)
    assert (run.failed, run.nothing) == ({}, {})
    assert set(run.figures) == {
        "start", "numpy ready", "memory", "latency p50", "latency p99", "submit", "map", "map best", "in 1 MB",
        "out 1 MB", "channel p50", "channel p99", "picture", *(f"tasks of {length:g} s" for length in LENGTHS),
        "1 workers", "2 workers",
    }  # fmt: skip
    assert all(value > 0 for value in run.figures.values())


@pytest.mark.parametrize("executor", ["serial", "threads", "processes-forkserver", "multiprocessing.Pool"])
def test_the_standard_library_executors(executor):
    run = measure(executor, 2, ["fresh", "submit", "channel"], SETTINGS, 300)
    assert run.failed == {}
    assert {"start", "numpy ready", "submit"} <= set(run.figures)
    assert ("channel p50" in run.figures) != ("channel" in run.nothing)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="Python 3.14 is the first with InterpreterPoolExecutor")
def test_measures_that_an_executor_lacks_are_reported():
    run = measure("InterpreterPoolExecutor", 2, ["fresh", "latency"], SETTINGS, 300)
    assert "numpy ready" not in run.figures
    assert "ImportError" in run.failed["fresh"]
    assert run.figures["start"] > 0
    assert run.figures["latency p50"] > 0


def test_table_json_and_plot(bench, tmp_path):
    file, plot = tmp_path / "bench.json", tmp_path / "bench.png"
    code, out, err = bench("--executors", "threads,owngil", "--measures", "latency, transfer", "--repeat", 2,
                           "--largest", 2, "--workers", 2, "--json", file, "--plot", plot)  # fmt: skip
    assert (code, err) == (0, "")
    found = json.loads(file.read_text())
    assert found["command"] == (
        "benchmarks/bench.py --workers 2 --repeat 2 --largest 2 --executors threads,owngil --measures latency, transfer"
    )
    assert found["settings"]["sizes"] == [1, 2]
    for name in ("threads", "owngil"):
        figures = found["executors"][name]["figures"]
        assert set(figures) == {"latency p50", "latency p99", "in 1 MB", "out 1 MB", "in 2 MB", "out 2 MB"}
        assert all(len(figure["values"]) == 2 for figure in figures.values())
        assert figures["latency p50"]["least"] <= figures["latency p50"]["median"] <= figures["latency p50"]["most"]
    assert found["executors"]["owngil"]["version"] == owngil.__version__
    assert out.count("\nowngil ") == 2  # a row in each table
    assert max(map(len, out.splitlines())) <= 120
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_executors_that_are_not_installed_are_left_out(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "loky" else object())
    file = tmp_path / "bench.json"
    code, out, _ = bench("--executors", "loky,serial", "--measures", "latency", "--repeat", 1, "--json", file)
    assert code == 0
    assert "loky: loky is not installed" in out
    assert json.loads(file.read_text())["executors"]["loky"] == {"missing": "loky is not installed"}


# Failures


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Replace the tasks of all executors."""

    def broken(text):
        with open(os.path.join(runs.ALONE, "owngil_bench_tasks.py")) as file:
            source = file.read()
        (tmp_path / "owngil_bench_tasks.py").write_text(source + text)
        monkeypatch.setattr(runs, "ALONE", str(tmp_path))

    return broken


def test_a_crash_is_reported_and_the_rest_is_measured(broken):
    broken("\ndef touch(array): os.abort()\n")
    run = measure("threads", 2, ["latency", "transfer", "channel"], SETTINGS, 300)
    assert run.failed == {"transfer": "the process crashed: SIGABRT"}
    assert {"latency p50", "channel p50"} <= set(run.figures)


def test_a_hang_is_ended_and_the_rest_is_measured(broken):
    broken("\ndef touch(array): time.sleep(1000)\n")
    run = measure("threads", 2, ["transfer", "channel"], SETTINGS, 10)
    assert run.failed == {"transfer": "not done within 10 s"}
    assert "channel p50" in run.figures


def test_an_error_is_reported_and_the_rest_is_measured(broken):
    broken("\ndef touch(array): raise ValueError('not\\nthis')\n")
    run = measure("owngil", 2, ["transfer", "latency"], SETTINGS, 300)
    assert run.failed == {"transfer": "ValueError: not"}
    assert "latency p50" in run.figures


@pytest.mark.parametrize(
    "arguments",
    [
        ("--workers", 0),
        ("--repeat", 0),
        ("--largest", 0),
        ("--largest", 1001),
        ("--timeout", 0),
        ("--timeout", "nan"),
        ("--executors", "joblib"),
        ("--executors", ","),
        ("--measures", "speed"),
        ("--plot", "bench.pdf"),
        ("--json", "/nonesuch/bench.json"),
    ],
)
def test_bad_input_is_refused(bench, arguments):
    code, out, err = bench(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("bench.py: error: ")
    assert err.count("\n") == 1


def running_in_group(group):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, number = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # the process has ended
            continue
        if int(number) == group and state not in "ZX":
            found.append(path.parent.name)
    return found


def test_ctrl_c_ends_the_children():
    # sh makes background programs ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command = subprocess.Popen(
            [sys.executable, BENCHMARKS / "bench.py", "--executors", "processes-forkserver"],
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
    wait_until(children.read_text)
    child = int(children.read_text().split()[0])
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=HANGS_AFTER)
    assert (command.returncode, err) == (130, "bench.py: interrupted\n")
    assert not Path(f"/proc/{child}").exists()
    wait_until(lambda: not running_in_group(child))  # no event announces the end of its own children


# The report


def record(**figures):
    return report.summarize([Run(figures)])


def test_summary():
    found = report.summarize(
        [Run({"start": 3.0}), Run({"start": 1.0}, {"map": "why"}), Run({"start": 2.0, "map": 1.0})]
    )
    assert found["figures"]["start"] == {"median": 2.0, "least": 1.0, "most": 3.0, "values": [3.0, 1.0, 2.0]}
    assert found["figures"]["map"]["values"] == [1.0]
    assert found["failed"] == {"map": "why"}


@pytest.mark.parametrize(
    ("speed_ups", "expected"),
    [
        ([0.1, 0.5, 1.2, 1.8, 1.9], 1e-3),
        ([1.2, 1.2, 1.2, 1.8, 1.9], 1e-5),
        ([1.3, 0.5, 1.2, 1.8, 1.9], 1e-3),
        ([0.1, 0.5, 0.9, 0.9, 1.0], None),
    ],
)
def test_the_shortest_task_that_pays_off(speed_ups, expected):
    figures = {f"tasks of {length:g} s": one for length, one in zip(LENGTHS, speed_ups, strict=True)}
    assert report.pays_off(record(**figures)) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.01"), (9.876, "9.88"), (45.67, "45.7"), (456.7, "457"), (12345, "12,345"), (2.5e6, "2.50M")],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert report.short(value) == text
