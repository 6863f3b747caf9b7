"""Write docs/compatibility.md from results/*.json, which collect.py made.

python report.py
"""

import json
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUITES = ("numpy", "scipy", "pandas", "scikit-learn")
COUNTED = ("passed", "skipped", "xfailed", "xpassed", "failed")
LISTED = 12  # tests that are named for each cause; the rest are counted

INTRODUCTION = """\
# Compatibility

{packages} packages with compiled code, each in 4 workers and the main interpreter of one process at once.

For each package a check uses its compiled code: it computes, parses, compresses, trains, reads and writes. The main
interpreter and 4 workers run it at the same time; then, with everything loaded, 2 of the workers run it once more while
the other 2 close. **Works** means: every run gave the main interpreter's result, all workers closed, and the process
ended with exit code 0. A check covers only a part of its package; the [own tests](#own-tests) cover more.

Each package is the newest version with a wheel for that Python. "No wheel" means that the package, or a package that it
needs, has no wheel.

```
make ecosystem                                  # all, on Python 3.13 and 3.14: hours
make ecosystem VERSIONS=3.13 IMPORTS= SUITES=   # the checks only: minutes
make ecosystem VERSIONS=3.13 CHECKS= IMPORTS= SUITES=numpy
```

`owngil doctor` examines the packages of your own environment ([doctor.md](doctor.md)).
"""

IMPORTS = """\
Each run is a process of its own and does the same as `owngil doctor`, with all packages together: two workers import
them and all their extension modules at the same time, then a third worker imports them, then the workers and the
process end. Workers refuse Matplotlib's `_tkagg`, because Tk's windows belong to the main interpreter: it is left out,
except on Python 3.13, where it is one of the 247 modules.
"""

OWN_TESTS = """\
The packages' own test suites, without the tests that the packages mark as slow. They run in the main interpreter of a
process without owngil, and in two workers of another process at the same time. NumPy: without the tests of f2py and the
limited API, which build a hundred extension modules. scikit-learn: `ensemble`, `linear_model` and `cluster`. pandas:
all except tests that need a network, a database or a single core; some tests need data files that its wheel lacks, and
fail everywhere.

The suites were not written to run twice in one process: tests that change the process (its current folder, environment
or signal handlers) interfere with the same tests in the other worker.
"""


def read():
    """Return the results by version of Python, oldest first."""
    files = sorted((HERE / "results").glob("*.json"), key=lambda file: [int(part) for part in file.stem.split(".")])
    return {file.stem: json.loads(file.read_text()) for file in files}


def cell(text):
    """Return a text in a form that fits into a table or a line."""
    return " ".join(str(text).split()).replace("|", "\\|")


def code(text):
    """Return a text in backticks."""
    return f"`{' '.join(str(text).replace('`', chr(39)).split())}`"


def count(number, noun):
    return f"{number} {noun}" + ("" if number == 1 else "s")


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(part) for part in line) + " |" for line in lines)


def packages_table(results):
    """Return the table of packages, and a line for each problem."""
    names = sorted({name for result in results.values() for name in result["packages"]}, key=str.lower)
    rows, problems = [], []
    for name in names:
        found = {version: result["packages"].get(name) for version, result in results.items()}
        versions = sorted({one["version"] for one in found.values() if one and one["version"]})
        rows.append(
            [name, ", ".join(versions), *((one["outcome"] if one else "not run yet") for one in found.values())]
        )
        for version, one in found.items():
            if one and one["outcome"] not in ("works", "no wheel"):
                problems.append(f"- **{name}** on Python {version}: {one['outcome']}. {code(one['detail'])}")
    for version, result in results.items():
        if missing := sorted(name for name, one in result["packages"].items() if one["outcome"] == "no wheel"):
            problems.append(f"- No wheel for Python {version}: {', '.join(missing)}.")
    return table(["package", "version", *results], rows), problems


def totals(results):
    """Return a line for each Python with the number of packages that work."""
    lines = []
    for result in results.values():
        outcomes = Counter(one["outcome"] for one in result["packages"].values())
        tried = sum(outcomes.values()) - outcomes["no wheel"]
        none = f"; {outcomes['no wheel']} without a wheel" if outcomes["no wheel"] else ""
        lines.append(f"- Python {result['python']} ({result['platform']}): {outcomes['works']} of {tried} work{none}")
    return "\n".join(lines)


def imports_text(results):
    """Return the section on repeated imports."""
    rows = []
    for result in results.values():
        one = result.get("imports", {}).get("scientific stack")
        if one is None:
            rows.append([result["python"], *["not run yet"] * 4])
            continue
        packages = ", ".join(f"{name} {version}" for name, version in one["packages"].items())
        well = sum(one["verdicts"].get(verdict, 0) for verdict in ("ok", "partly"))
        rows.append([result["python"], packages, one["extension modules"], one["runs"], well])
    return table(["Python", "packages", "extension modules", "runs", "without crash, hang or failure"], rows)


def outcome_rows(suite):
    """Return a row of counts for each interpreter of a suite's runs."""
    rows = []
    for where in ("main", "workers"):
        for number, run in enumerate(suite[where]["runs"]):
            label = "main interpreter" if where == "main" else f"worker {number}"
            rows.append(
                [label, run["tests"], *(run.get(outcome, 0) for outcome in COUNTED), suite[where].get("seconds", "")]
            )
    return rows


def ended(where, run):
    """Return the text on an incomplete run of a suite."""
    last = ", ".join(code(test) for test in run["last tests"])
    return f"**Not complete**: the run in {where} ended ({code(run['ended'])}) in {last}."


def differences(suite):
    """Return the text on the tests with different outcomes, grouped by cause."""
    causes = {}
    for one in suite["differences"]:
        causes.setdefault(one["cause"] or "Not known", []).append(one)
    lines = []
    for cause, tests in sorted(causes.items(), key=lambda item: (item[0] == "Not known", -len(item[1]), item[0])):
        lines.append(f"- {cause[0].upper()}{cause[1:]}: {count(len(tests), 'test')}.")
        for one in tests[:LISTED]:
            workers = " and ".join(dict.fromkeys(one["workers"]))
            error = f": {code(one['error'])}" if one["error"] else ""
            lines.append(f"  - {code(one['test'])} {one['main']} in main, {workers} in workers{error}")
        if len(tests) > LISTED:
            lines.append(f"  - and {len(tests) - LISTED} more: tests/packages/results")
    return "\n".join(lines)


def suites_text(results):
    """Return the section on the packages' own tests."""
    parts = []
    for name in SUITES:
        found = {version: result["suites"][name] for version, result in results.items() if name in result["suites"]}
        if not found:
            parts.append(f"### {name}\n\nNot run yet.")
        for version, suite in found.items():
            parts.append(f"### {name} {suite['version']}, Python {version}")
            if suite["version"] is None:
                parts.append("No wheel.")
            else:
                parts += [ended(where, suite[where]) for where in ("main", "workers") if "ended" in suite[where]]
                parts.append(table(["", "tests", *COUNTED, "seconds"], outcome_rows(suite)))
                total = len(suite["differences"])
                if total:
                    parts.append(f"{count(total, 'test')} with another outcome in a worker:\n\n{differences(suite)}")
                elif "ended" in suite["main"] or "ended" in suite["workers"]:
                    parts.append("Every test that all three runs reached has the same outcome.")
                else:
                    parts.append("Every test has the same outcome in the main interpreter and in both workers.")
    return "\n\n".join(parts)


def document(results):
    """Return docs/compatibility.md."""
    checked = {version: result for version, result in results.items() if result["packages"]}
    packages, problems = packages_table(checked)
    number = len({name for result in checked.values() for name in result["packages"]})
    return "\n\n".join(
        [
            INTRODUCTION.format(packages=number).rstrip(),
            "## Packages",
            totals(checked),
            packages,
            "## What does not work",
            "\n".join(problems) or "Every package that was tried works.",
            "## Imports, again and again",
            IMPORTS.rstrip(),
            imports_text(results),
            "## Own tests",
            OWN_TESTS.rstrip(),
            suites_text(results),
        ]
    )


if __name__ == "__main__":
    (HERE.parents[1] / "docs" / "compatibility.md").write_text(document(read()) + "\n")
