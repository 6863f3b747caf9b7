"""Errors of the command line."""

__all__ = ["InputError"]


class InputError(Exception):
    """What the user asked for cannot be done; found before any work. Its message is one line."""
