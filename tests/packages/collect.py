"""Run the packages' checks and own test suites on this Python, and write the results to a JSON file.

    python collect.py RESULTS [--checks NAME...] [--suites NAME...] [--imports RUNS] [--work FOLDER]

Each check and each run of a suite is a process of its own. RESULTS is written after each one, so Ctrl-C loses no
finished result, and results that are not measured again are kept. Imports that were stopped continue if packages and
owngil are the same. The suites' own output goes to FOLDER (default: a temporary one).
"""

import argparse
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECK_TIMEOUT = 200.0  # seconds
SUITE_TIMEOUT = 6 * 3600.0
STACK = ("numpy", "scipy", "pandas", "matplotlib", "scikit-learn")
REFUSED = ("matplotlib.backends._tkagg",)  # a run with it would fail, and then import all in main too
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # programs of the packages, such as meson
DETAIL = 600  # characters of an error that are kept
MISSING = "not run"

# Causes of a different outcome in a worker: the first pattern that the error contains decides.
CAUSES = [
    (r"tracemalloc", "Python's `tracemalloc` is refused in workers"),
    (r"_testbuffer is not available", "Python's `_testbuffer` is refused in workers"),
    (r"IsolationError", "owngil refuses to load an extension module"),
    (r"fork not supported for isolated subinterpreters|os\.fork\w*\(\) in worker", "`os.fork` is refused in workers"),
    (r"exec not supported for isolated subinterpreters|os\.exec\w+\(\) in worker", "`os.exec*` is refused in workers"),
    (r"daemon threads are disabled", "daemon threads are refused in workers"),
    (
        r"signal only works in main thread|set_wakeup_fd only works",
        "only the main interpreter has signal handlers",
    ),
    (r"DID NOT WARN|Regex pattern did not match.*Warning|_warnings", "warnings"),
    (r"getcwd|chdir", "the current folder belongs to the process"),
    (r"os\.environ|setenv", "the environment belongs to the process"),
    (r"refcount|getrefcount|immortal", "reference counts differ"),
    (r"subprocess|CalledProcessError", "starts another process"),
]


def version_of(name):
    """Return the installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def launch(command, timeout, folder):
    """Run a program with HOME and TMPDIR in `folder`; return its exit code (None: timeout) and its output's end."""
    with open(Path(folder) / "output", "w+", errors="replace") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env={**os.environ, "HOME": str(folder), "TMPDIR": str(folder), "MPLBACKEND": "agg", "PATH": PATH},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that a timeout ends its children too, and Ctrl-C is handled below
        )
        try:
            code = process.wait(timeout)
        except BaseException as error:  # Ctrl-C too
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            code = None
        output.seek(max(0, output.seek(0, os.SEEK_END) - 20000))
        return code, output.read()


def describe(code, text):
    """Return the meaning of an exit code and output: a word and a detail."""
    lines = [line for line in text.splitlines() if line.strip()]
    end = "\n".join(lines[-3:])[-DETAIL:]
    if code == 0:
        return "works", ""
    if code is None:
        return "hangs", end
    if code < 0:
        return "crashes", f"{signal.Signals(-code).name}\n{end}"
    if refused := [line for line in lines if "IsolationError" in line]:
        return "refused", refused[-1][-DETAIL:]
    return "fails", end


def check(name):
    """Run the check of one distribution."""
    version = version_of(name)
    if version is None:
        return {"version": None, "outcome": "no wheel", "detail": "", "seconds": 0}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        start = time.monotonic()
        outcome, detail = describe(*launch([str(HERE / "run_check.py"), name], CHECK_TIMEOUT, folder))
        seconds = round(time.monotonic() - start, 1)
    return {"version": version, "outcome": outcome, "detail": detail, "seconds": seconds}


def parts_of(result):
    """Return the logs that suites.py writes beside `result`."""
    return [Path(f"{result}.part{k}") for k in ((0, 1) if result.stem.endswith("-workers") else ("",))]


def read_part(part):
    """Return the outcomes in the log of an incomplete run, and the test that began last."""
    outcomes, last = {}, "none"
    for line in part.read_text(errors="replace").splitlines() if part.exists() else ():
        word, _, test = line.partition(" ")
        if word == "start":
            last = test
        else:
            outcomes[test] = word
    return outcomes, last


def run_suite(name, where, work):
    """Run a suite in the main interpreter or in workers; return the results of suites.py, or how and where it ended."""
    result = work / f"{name}-{where}.json"
    for old in [result, *parts_of(result)]:
        old.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        code, text = launch([str(HERE / "suites.py"), where, name, str(result)], SUITE_TIMEOUT, folder)
    (work / f"{name}-{where}.txt").write_text(text)
    return read_run(name, where, work, *describe(code, text))


def read_run(name, where, work, outcome, detail):
    """Read the files that a run of a suite left in `work`."""
    result = work / f"{name}-{where}.json"
    if outcome == "works" and result.exists():
        return json.loads(result.read_text())
    parts = [read_part(part) for part in parts_of(result)]
    return {
        "ended": f"{outcome}: {detail}",
        "last tests": [last for _, last in parts],
        "runs": [{"outcomes": outcomes, "reasons": {}} for outcomes, _ in parts],
    }


def summary(run):
    """Return the counts of one interpreter's run."""
    counts = Counter(run["outcomes"].values())
    return {"tests": sum(counts.values()), **dict(sorted(counts.items()))}


def plain(outcomes):
    """Return the dict without addresses in the tests' names."""
    return {re.sub(r"0x[0-9a-f]{6,}", "0x", test): outcome for test, outcome in outcomes.items()}


def cause_of(reason):
    """Return the cause of a different outcome, found in the error, or an empty text."""
    return next((cause for pattern, cause in CAUSES if re.search(pattern, reason, re.DOTALL)), "")


def last_line(reason):
    """Return the error of a traceback in one line."""
    errors = [line[1:].strip() for line in reason.splitlines() if line.startswith("E  ")]
    lines = errors or [line.strip() for line in reason.splitlines() if line.strip()]
    # Pytest's first "E" line has the exception, unless it is an assertion with its values below.
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Warning|Failed|Interrupt)\b", line)]
    return ((named or lines or [""])[-1])[:DETAIL]


def compare(main, workers):
    """Return one record of both runs of a suite: the counts, and each test with different outcomes."""
    record = {
        where: {**run, "runs": [summary(one) for one in run["runs"]]}
        for where, run in (("main", main), ("workers", workers))
    }
    expected, *others = [plain(one["outcomes"]) for one in (*main["runs"], *workers["runs"])]
    reasons = [plain(one["reasons"]) for one in (*workers["runs"], *main["runs"])]
    tests = {*expected, *others[0], *others[1]}
    if "ended" in main or "ended" in workers:  # tests that all runs reached
        tests = {*expected} & {*others[0]} & {*others[1]}
    differences = []
    for test in sorted(tests):
        outcomes = [other.get(test, MISSING) for other in others]
        if all(outcome == expected.get(test, MISSING) for outcome in outcomes):
            continue
        reason = next((reason[test] for reason in reasons if test in reason), "")
        differences.append(
            {
                "test": test,
                "main": expected.get(test, MISSING),
                "workers": outcomes,
                "error": last_line(reason),
                "cause": cause_of(reason),
            }
        )
    return {**record, "differences": differences}


def suite(name, work):
    """Run one suite in the main interpreter and in workers, and compare."""
    version = version_of(name)
    if version is None:
        return {"version": None, "differences": []}
    return {"version": version, **compare(run_suite(name, "main", work), run_suite(name, "workers", work))}


def fingerprint():
    """Return a short text that changes with the installed owngil."""
    import owngil

    digest = hashlib.sha256()
    for file in sorted(Path(owngil.__file__).parent.rglob("*")):
        if file.suffix in (".py", ".so"):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def import_stack(runs, before):
    """Import all modules of the scientific stack as ``owngil doctor`` does, again and again.

    Yields the results so far: after every tenth run, after a failed run, and at the end. `before` is the last value
    that a stopped call for the same packages yielded, or None.
    """
    from owngil.cli.doctor.examine import examine
    from owngil.cli.doctor.packages import Package, find_package

    packages = [find_package(name) for name in STACK if version_of(name)]
    together = Package(
        "scientific stack",
        None,
        tuple(name for package in packages for name in package.imports),
        tuple(name for package in packages for name in package.extensions if name not in REFUSED),
        tuple(path for package in packages for path in package.folders),
    )
    same = {
        "packages": {package.name: package.version for package in packages},
        "extension modules": len(together.extensions),
        "owngil": fingerprint(),
    }
    done = {"runs": 0, "verdicts": {}, "bad": [], "seconds": 0}
    if before and before["runs"] < runs and all(before.get(key) == value for key, value in same.items()):
        done = before
    verdicts, bad = Counter(done["verdicts"]), list(done["bad"])
    start = time.monotonic() - done["seconds"]
    for run in range(done["runs"] + 1, runs + 1):
        result = examine(together, CHECK_TIMEOUT)
        verdicts[result.verdict] += 1
        if result.failed:
            bad.append({"run": run, "reason": result.reason, "stacks": result.stacks[-2000:]})
            print(f"run {run}: {result.reason}\n{result.stacks}\n{result.output}", flush=True)
        if run % 10 == 0 or run == runs or result.failed:
            print(f"imports of the scientific stack: {run} of {runs}, {dict(verdicts)}", flush=True)
            yield {
                **same,
                "runs": run,
                "verdicts": dict(sorted(verdicts.items())),
                "bad": bad,
                "seconds": round(time.monotonic() - start),
            }


class Results:
    """The JSON file of one Python: `packages`, `suites` and `imports` by name. Several processes may write it."""

    def __init__(self, path):
        self.path = path

    def read(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {"packages": {}, "suites": {}}

    def keep(self, section, name, value):
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            data = self.read()
            data["python"] = platform.python_version()
            data["platform"] = f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}"
            data["owngil"] = version_of("owngil")
            data.setdefault(section, {})[name] = value
            part = self.path.with_suffix(".part")
            part.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
            part.replace(self.path)
        finally:
            os.close(folder)


def main():
    sys.path.insert(0, str(HERE))
    from checks import CHECKS
    from suites import SUITES

    parser = argparse.ArgumentParser(description="Run checks and suites of packages in workers.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--checks", nargs="*", default=sorted(CHECKS, key=str.lower), metavar="NAME")
    parser.add_argument("--suites", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--imports", type=int, default=0, metavar="RUNS")
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    if unknown := {*arguments.checks} - {*CHECKS} | {*arguments.suites} - {*SUITES}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")

    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    results = Results(arguments.results)
    for name in arguments.checks:
        found = check(name)
        results.keep("packages", name, found)
        print(f"{name:25} {found['version'] or '':12} {found['outcome']:10} {found['seconds']:6.1f} s", flush=True)
    if arguments.imports:
        before = results.read().get("imports", {}).get("scientific stack")
        for found in import_stack(arguments.imports, before):
            results.keep("imports", "scientific stack", found)
    for name in arguments.suites:
        work = (arguments.work or Path(tempfile.mkdtemp(prefix="ecosystem-"))).resolve()
        work.mkdir(parents=True, exist_ok=True)
        print(f"{name}'s own tests: output in {work}", flush=True)
        found = suite(name, work)
        results.keep("suites", name, found)
        print(f"{name}'s own tests: {len(found['differences'])} differences", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
