"""``owngil trace``: draws a recording of `owngil.trace`."""

from owngil.cli.trace.command import add_parser

__all__ = ["add_parser"]
