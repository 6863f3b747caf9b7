"""Calls that owngil makes in a worker for its users: chunks of `Pool.map`, source text of `Interpreter.exec`."""

import sys
import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from owngil import _core, _wire
from owngil._worker.errors import describe_error

__all__ = ["call_chunk", "execute_code"]

_code_count = 0


def execute_code(code: str, names: dict[str, object]) -> None:
    """Run source text in the worker's ``__main__``, with `names` bound there."""
    import linecache  # few workers need it
    import textwrap

    global _code_count
    _code_count += 1
    source = textwrap.dedent(code)
    filename = f"<owngil.exec {_code_count}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace = sys.modules["__main__"].__dict__
    namespace.update(names)
    exec(compile(source, filename, "exec"), namespace)


def call_chunk(
    fn: Callable[..., object], columns: tuple[Sequence[Any], ...]
) -> tuple[float, int, list[object], _wire.Failure | None]:
    """Call `fn` with an item of each column at a time, until one raises: a chunk of a map.

    Returns the seconds, the number of calls, what they returned, and what the last one raised.
    """
    values: list[object] = []
    failure = None
    start = perf_counter()
    try:
        values.extend(map(fn, *columns))
        if len(values) < len(columns[0]):  # to extend() it looks like the end
            raise StopIteration("raised by the function that is mapped")
    except BaseException as error:
        failure = describe_error(error, threading.current_thread().name)
    _core.count_calls(len(values) + (failure is not None), failure is not None)
    return perf_counter() - start, len(columns[0]), values, failure
