"""Errors of the command line."""

__all__ = ["InputError"]


class InputError(Exception):
    """Bad input, found before any work. Its message is one line."""
