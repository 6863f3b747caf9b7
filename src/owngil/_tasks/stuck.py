"""Reports tasks that do not notice their interrupt, on the caller's stderr.

Python code notices an interrupt at its next instruction, a wait of owngil at once, other C code when it returns. C code
may run for ever, and cannot be ended within a process. So the user is told once, with the stack of the task.
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
    """Return a message about a worker whose task is still running, from the stack that the core has recorded.

    Parameters
    ----------
    worker : str
        Its name.
    parts : iterable of Block
        A line for each frame, innermost first; nothing if the core could not take the worker's GIL.
    waits : bool
        Whether a thread waits for the worker's end.
    starts : bool
        Whether the worker is starting, and runs no task but its initializer, a preload or imports of these.
    """
    stack = b"".join(parts).decode("utf-8", "replace")
    advice = " Press Ctrl-C again to go on without it." if waits else ""
    what = ("starting", "its start") if starts else ("running", "its task")
    text = f"owngil: worker '{worker}' is still {what[0]} {GRACE:g} s after {what[1]} was interrupted."
    if not stack:
        return (
            f"{text} It is in a C function that keeps the worker's GIL, so its stack cannot be seen."
            f" The interrupt comes when that returns.{advice}\n"
        )
    text += f" The interrupt comes when the last of these calls, of a C function, returns.{advice}\n"
    frames = re.findall(r"(.*?)\x1f(\d+)\x1f(.*?)\n", stack, re.DOTALL)  # a file's name may have line ends in it
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
    """Write to the current sys.stderr of the caller."""
    with contextlib.suppress(Exception):
        sys.stderr.write(text)
        sys.stderr.flush()
