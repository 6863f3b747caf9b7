"""``owngil doctor``: tells which packages work in several workers at once, and why others do not."""

from owngil.cli.doctor.command import add_parser

__all__ = ["add_parser"]
