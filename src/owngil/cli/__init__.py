"""The command line: ``owngil COMMAND``."""

from owngil.cli._main import main

__all__ = ["main"]
