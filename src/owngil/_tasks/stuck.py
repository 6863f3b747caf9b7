"""What the caller does about tasks that do not notice their interrupt.

Python code notices an interrupt at its next instruction, a wait of owngil's at once, other C code when it returns. That
may take for ever, and nothing can be done about it within a process; so at least it is said, once, with what is known.
"""

import contextlib
import linecache
import os
import re
import sys
from collections.abc import Iterable
from typing import Any

from owngil._wire.protocol import GRACE

__all__ = ["describe_stuck", "say"]

_OWN = os.path.dirname(os.path.dirname(__file__)) + os.sep


def _is_own(file: str) -> bool:
    return file.startswith(_OWN) or file == "<string>"


def _is_import(file: str) -> bool:
    return file.startswith("<frozen importlib")


def describe_stuck(worker: str, parts: Iterable[Any], *, waits: bool, starts: bool) -> str:
    """Return what to say of a worker whose task is still running, given what the core knows of its stack.

    Parameters
    ----------
    worker : str
        Its name.
    parts : iterable of Block
        A line for each frame, innermost first; nothing if the worker's GIL could not be had.
    waits : bool
        Whether the worker's end is awaited.
    starts : bool
        Whether it is not a task, but the worker's initializer, a preload or what these import.
    """
    stack = b"".join(parts).decode("utf-8", "replace")
    advice = " Press Ctrl-C again to go on without it." if waits else ""
    what = ("starting", "its start") if starts else ("running", "its task")
    text = f"owngil: worker '{worker}' is still {what[0]} {GRACE:g} s after {what[1]} was interrupted."
    if not stack:
        return (
            f"{text} It is in a C function that keeps the worker's GIL, so nobody can see in which."
            f" The interrupt comes when that returns.{advice}\n"
        )
    text += f" The interrupt comes when the last of these calls, of a C function, returns.{advice}\n"
    frames = re.findall(r"(.*?)\x1f(\d+)\x1f(.*?)\n", stack, re.DOTALL)  # a file's name may have all kinds of line ends
    while frames and _is_own(frames[-1][0]):
        frames.pop()
    for file, number, name in reversed(frames):
        if _is_import(file):  # as in Python's own tracebacks
            continue
        text += f'  File "{file}", line {number}, in {name}\n'
        source = linecache.getline(file, int(number)).strip()
        if source:
            text += f"    {source}\n"
    return text


def say(text: str) -> None:
    """Write to the caller's stderr, whatever that is by now."""
    with contextlib.suppress(Exception):
        sys.stderr.write(text)
        sys.stderr.flush()
