"""Reads the command line and runs a command.

Exit codes: 0 done; 1 the work failed; 2 bad input, found before any work; 130 Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

import owngil
from owngil.cli import doctor, mandelbrot, trace
from owngil.cli.errors import InputError

__all__ = ["Parser", "main", "run"]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is there for --help."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _guard(word: str) -> str:
    """Keep argparse from taking a negative number such as -1e-3 for an option: before 3.14 it knows plain ones only."""
    try:
        float(word)
    except ValueError:
        return word
    return f" {word}" if word.startswith("-") else word


def run(parser: Parser, arguments: Sequence[str] | None) -> int:
    """Do what the parsed `arguments` (default: the process's) say, and return the exit code."""
    options = parser.parse_args([_guard(word) for word in (sys.argv[1:] if arguments is None else arguments)])
    command = getattr(options, "command", None)
    program = parser.prog if command is None else f"{parser.prog} {command}"
    try:
        code: int = options.run(options)
        return code
    except InputError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``owngil`` with `arguments` (default: the process's), and return its exit code."""
    parser = Parser(prog="owngil", description="Sub-interpreters for numeric Python.")
    parser.add_argument("--version", action="version", version=f"owngil {owngil.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (mandelbrot, doctor, trace):
        command.add_parser(commands)
    return run(parser, arguments)
