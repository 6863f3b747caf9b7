"""``owngil mandelbrot``: draws the Mandelbrot set with all cores, in one process."""

from owngil.cli.mandelbrot.command import add_parser

__all__ = ["add_parser"]
