"""Run a package's own test suite in the main interpreter, or in two workers at the same time; write each outcome.

    python suites.py main PACKAGE OUTPUT
    python suites.py workers PACKAGE OUTPUT

OUTPUT becomes a JSON file: for each run, a dict of tests and outcomes, and the last lines of each failure. The two
kinds of runs are separate processes, so that the main interpreter's run has no owngil in it. Each outcome goes to
OUTPUT.part at once; after a crash, the last lines there say where.
"""

import json
import os
import sys
import tempfile
import time

# Pytest's arguments for each suite. They leave out tests that the packages' own quick runs leave out, tests that need a
# network, and NumPy's tests of f2py and the limited API, which build a hundred extension modules.
SUITES = {
    "numpy": ["--pyargs", "numpy", "-m", "not slow", "--ignore-glob=/*/f2py/*", "--ignore-glob=/*/test_limited_api.py"],
    "scipy": ["--pyargs", "scipy", "-m", "not slow and not xslow"],
    "pandas": ["--pyargs", "pandas", "-m", "not slow and not network and not db and not single_cpu"],
    "scikit-learn": ["--pyargs", "sklearn.ensemble", "sklearn.linear_model", "sklearn.cluster"],
}
PLAIN = [
    *("-q", "-q", "--no-header", "--tb=short", "--show-capture=no", "-W", "ignore", "--hypothesis-seed=0"),
    *("-p", "no:cacheprovider", "-p", "no:faulthandler", "-p", "no:timeout", "-p", "no:terminalreporter"),
    "--continue-on-collection-errors",
]


def stand_in_for_tracemalloc():
    """Let test modules import tracemalloc where Python refuses it, so that only tests that use it fail."""
    import sys
    import types

    try:
        import tracemalloc  # noqa: F401 - tried
    except ImportError as error:
        message = str(error)
    else:
        return

    def refuse(*args, **kwargs):
        raise RuntimeError(message)

    module = types.ModuleType("tracemalloc")
    module.is_tracing = lambda: False  # pytest and warnings call it
    module.get_object_traceback = lambda source: None
    module.start = module.stop = module.take_snapshot = module.get_traced_memory = refuse
    module.clear_traces = module.reset_peak = refuse
    sys.modules["tracemalloc"] = module


def run(package, folder, log):
    """Run the suite in this interpreter; return outcomes and reasons, a dict of node id and text each."""
    import sys
    import warnings

    import pytest

    warnings.simplefilter("ignore")
    stand_in_for_tracemalloc()

    class Collector:
        """A pytest plugin that keeps the outcome of each test."""

        def __init__(self):
            self.outcomes = {}
            self.reasons = {}
            self.log = open(log, "a")  # noqa: SIM115 - for as long as pytest runs

        def keep(self, name, outcome, report):
            self.outcomes[name] = outcome
            print(outcome, name, file=self.log, flush=True)
            if report.skipped and isinstance(report.longrepr, tuple):
                self.reasons[name] = str(report.longrepr[2])
            elif outcome != "passed":
                self.reasons[name] = str(report.longrepr)[-1500:]

        def pytest_runtest_logstart(self, nodeid):
            print("start", nodeid, file=self.log, flush=True)

        def pytest_runtest_logreport(self, report):
            name = report.nodeid
            if hasattr(report, "wasxfail"):
                self.keep(name, "xfailed" if report.skipped else "xpassed", report)
            elif report.failed or (report.when == "call" or (report.when == "setup" and report.skipped)):
                self.keep(name, report.outcome, report)

        def pytest_collectreport(self, report):
            if report.failed or report.skipped:
                self.keep(f"collection of {report.nodeid}", report.outcome, report)

    collector = Collector()
    sys.argv[:] = ["pytest"]
    arguments = [*PLAIN, "-c", os.devnull, "--basetemp", folder, "--rootdir", os.path.dirname(folder), *SUITES[package]]
    code = pytest.main(arguments, plugins=[collector])
    return {"exit code": int(code), "outcomes": collector.outcomes, "reasons": collector.reasons}


def main(where, package, output):
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if where == "main":
            runs = [run(package, f"{folder}/main", f"{output}.part")]
        else:
            import owngil

            workers = [owngil.Interpreter(f"suite-{k}") for k in range(2)]
            futures = [
                worker.submit(run, package, f"{folder}/{k}", f"{output}.part{k}") for k, worker in enumerate(workers)
            ]
            runs = [future.result() for future in futures]
            for worker in workers:
                worker.close()
    with open(output, "w") as file:
        json.dump({"seconds": round(time.monotonic() - start), "runs": runs}, file)
    for one in runs:
        counts = {}
        for outcome in one["outcomes"].values():
            counts[outcome] = counts.get(outcome, 0) + 1
        print(where, package, counts, flush=True)


if __name__ == "__main__":
    del sys.path[0]  # remove this folder: NumPy's tests build a module called checks
    main(sys.argv[1], sys.argv[2], os.path.abspath(sys.argv[3]))
