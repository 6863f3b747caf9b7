"""``owngil doctor``: tells which packages work in several workers at once, and why others do not."""

import argparse
import json
import math
import os
import platform
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import owngil
from owngil import _core
from owngil.cli.doctor.examine import Result, examine
from owngil.cli.doctor.packages import Package, find_package, installed_packages, scientific_packages
from owngil.cli.errors import InputError

__all__ = ["add_parser"]

_WIDTH = 100
_SCHEMA = 1  # of the JSON output; increased when a key changes its meaning or is removed


def add_parser(commands: Any) -> None:
    """Add the command's options to ``owngil``'s parser."""
    parser = commands.add_parser(
        "doctor",
        help="tell which packages work in several interpreters at once",
        description="Import packages and all their extension modules in two workers at once, each package in a process"
        " of its own, and say what works, what it costs, and what to do about the rest."
        " Exit code 1: something fails.",
    )
    add = parser.add_argument
    add("packages", nargs="*", metavar="PACKAGE",
        help="a distribution or a module (default: the installed ones of a list of scientific packages)")  # fmt: skip
    add("--all", action="store_true", help="everything that is installed")
    add("--json", action="store_true", help="print JSON, with everything that is known")
    add("--timeout", type=float, default=120.0, metavar="SECONDS", help="for each package's process (default: 120)")
    add("-v", "--verbose", action="store_true",
        help="list the extension modules and libraries, and show tracebacks and stacks")  # fmt: skip
    parser.set_defaults(run=_run, command="doctor")


def _run(options: argparse.Namespace) -> int:
    packages = _chosen(options)
    results = []
    if options.json:
        results = list(_examine_all(packages, options.timeout))
        print(json.dumps(_as_json(results), indent=1))
    else:
        print(f"owngil {owngil.__version__}, Python {platform.python_version()}, {platform.platform()}\n")
        for text in _core.missing_parts():
            print("\n".join([*_wrap(text, ""), ""]))
        table = _Table(packages)
        print(table.head(), flush=True)
        for result in _examine_all(packages, options.timeout):
            results.append(result)
            print("\n".join(table.lines(result, options.verbose)), flush=True)
        print(f"\n{_summary(results)}")
    return int(any(result.failed for result in results))


def _chosen(options: argparse.Namespace) -> list[Package]:
    if not (options.timeout > 0 and math.isfinite(options.timeout)):
        raise InputError(f"--timeout must be positive, not {options.timeout}")
    if options.all:
        if options.packages:
            raise InputError("--all takes everything that is installed: name no packages with it")
        packages = installed_packages()
    elif options.packages:
        packages = [find_package(name.strip()) for name in dict.fromkeys(options.packages)]
    else:
        packages = scientific_packages()
    if not packages:
        raise InputError("there is nothing to examine: name a package, or use --all")
    return packages


def _examine_all(packages: list[Package], timeout: float) -> Iterator[Result]:
    for number, package in enumerate(packages, 1):
        with _status(f"{number}/{len(packages)} {package.name} ..."):
            result = examine(package, timeout)
        yield result


@contextmanager
def _status(text: str) -> Iterator[None]:
    """Show a status line on a terminal during the block."""
    if not sys.stderr.isatty():
        yield
        return
    print(text, end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _as_json(results: list[Result]) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "owngil": owngil.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "missing": list(_core.missing_parts()),
        "ok": not any(result.failed for result in results),
        "packages": [asdict(result) for result in results],
    }


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _plain(text: str) -> str:
    """Return a text of a package without characters that could move the cursor."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text.expandtabs())


class _Table:
    """Lines of at most 100 columns: one for each package, and remarks on it below."""

    def __init__(self, packages: list[Package]) -> None:
        self._name = min(26, max(7, *(len(package.name) for package in packages)))
        self._version = min(12, max(7, *(len(package.version or "") for package in packages)))

    def _row(self, name: str, version: str, *cells: str) -> str:
        widths = (5, 6, 7, 6, 10, 7)
        numbers = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells[:-1], widths, strict=True))
        return (
            f"{_cut(name, self._name):<{self._name}}  {_cut(version, self._version):<{self._version}}"
            f"  {numbers}  {cells[-1]}"
        ).rstrip()

    def head(self) -> str:
        first = f"{'':{self._name + self._version + 2}}  {'modules':>13}  {'libraries':>15}  {'MiB of a':>10}"
        second = self._row("package", "version", "multi", "single", "private", "shared", "new worker", "seconds",
                           "verdict")  # fmt: skip
        return f"{first}\n{second}"

    def lines(self, result: Result, verbose: bool) -> list[str]:
        """Return the lines about a package."""
        phases = [module["phase"] for module in result.extension_modules]
        private = sum(library["private"] for library in result.libraries)
        loaded = result.seconds is not None
        cells = [
            str(phases.count("multi-phase")) if loaded else "-",
            str(phases.count("single-phase")) if loaded else "-",
            str(private) if loaded else "-",
            str(len(result.libraries) - private) if loaded else "-",
            "-" if result.memory_all is None else f"{max(0, result.memory_all) / 2**20:.1f}",
            "-" if result.seconds is None else f"{result.seconds:.2f}",
            result.verdict,
        ]
        lines = [self._row(result.package, result.version or "-", *cells)]
        for text in (result.reason, *result.notes, result.advice):
            if text:
                lines += _wrap(text, "  ")
        return [*lines, *_details(result)] if verbose else lines


def _wrap(text: str, indent: str) -> list[str]:
    short = textwrap.shorten(_plain(text), 900, placeholder=" ...")
    return textwrap.wrap(short, _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False)


def _details(result: Result) -> Iterator[str]:
    """Yield the lines that only --verbose shows."""
    for module in result.extension_modules:
        about = f"{module['phase'] or 'extension'}, {'private copy' if module['loaded'] == 'private' else 'shared'}"
        yield from _wrap(f"{module['name']}: {about}{'' if module['own'] else ', of another package'}", "    ")
    for library in result.libraries:
        kind = "private" if library["private"] else "shared"
        yield from _wrap(f"{os.path.basename(library['path'])}: {kind}, {library['reason']}", "    ")
    texts = [failure["traceback"] for failure in result.failures if not failure.get("in_main")]
    for text in [*texts, result.stacks, result.output if result.failed else ""]:
        if text.strip():
            yield ""
            yield from (f"    {line}" for line in _plain(text).rstrip().splitlines())
            yield ""


def _summary(results: list[Result]) -> str:
    failed = [result.package for result in results if result.failed]
    broken = [result.package for result in results if result.verdict == "broken"]
    partly = sum(result.verdict == "partly" for result in results)
    works = len(results) - len(failed) - len(broken)
    parts = [f"{works} of {len(results)} {'works' if works == 1 else 'work'} in several workers at once"]
    if partly:
        parts[0] += f", but for parts of {partly}"
    if failed:
        parts.append(f"{len(failed)} {'does' if len(failed) == 1 else 'do'} not")
    if broken:
        parts.append(f"{len(broken)} {'does' if len(broken) == 1 else 'do'} not work without owngil either")
    return "; ".join(parts) + "."
