"""The command line: ``owngil COMMAND``."""

from owngil.cli.entry import main

__all__ = ["main"]
