"""The traceback of a worker's exception: the worker, the function, and the source lines where it was raised."""

import linecache
import subprocess
import sys

import pytest
from patience import HANGS_AFTER


def text_of(call, *args, **kwargs):
    """Return the worker's part of the traceback of the exception that the call raises."""
    with pytest.raises(Exception) as caught:
        call(*args, **kwargs)
    return caught.value.__cause__.text


def first_line(call, *args, **kwargs):
    return text_of(call, *args, **kwargs).splitlines()[0]


def fail(*args, **kwargs):
    raise ValueError("no")


class Named:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        if self.text is None:
            raise SystemExit
        return self.text


def test_a_memory_error_that_cannot_be_pickled_is_a_memory_error(interpreter):
    """There may be no memory to pickle it, either."""

    def find_no_memory():
        import threading

        error = MemoryError("so many bytes")
        error.lock = threading.Lock()  # cannot be pickled
        raise error

    with pytest.raises(MemoryError) as caught:
        interpreter.call(find_no_memory)
    assert "so many bytes" in caught.value.__cause__.text


# Worker and function


def test_the_worker_the_function_and_its_arguments(interpreter):
    name = interpreter.name
    assert (
        first_line(interpreter.call, fail, 1, "two", three=[3])
        == f"In worker '{name}', calling fail(1, 'two', three=[3]):"
    )
    assert first_line(interpreter.call, int, "x") == f"In worker '{name}', calling int('x'):"
    assert first_line(interpreter.exec, "1 / zero", zero=0) == f"In worker '{name}', calling exec('1 / zero', zero=0):"


def test_the_item_of_a_map(pool):
    def invert(x, y):
        return y / x

    assert first_line(list, pool.map(invert, [2, 1, 0, 5], [1, 2, 3, 4], chunksize=4)).endswith(
        "<locals>.invert(0, 3):"
    )


def test_large_arguments_are_shortened(interpreter):
    import numpy as np

    arguments = (
        list(range(1000)),
        "x" * 1000,
        b"y" * 1000,
        np.zeros((3, 4)),
        {"a": np.ones(2)},
        10**5000,
        bytearray(500),
    )
    line = first_line(interpreter.call, fail, *arguments, *range(1000), last=1)
    assert len(line) < 600
    for shown in (
        "[0, 1, 2, 3, 4, 5, ...]",
        "... (1000 bytes)",
        "<ndarray (3, 4) float64>",
        "{'a': <ndarray (2,) float64>}",
    ):
        assert shown in line
    assert line.endswith(", ...):")


def test_arguments_that_cannot_be_shown(interpreter):
    line = first_line(interpreter.call, fail, Named(None), Named("a\n  b"), [Named(None)])
    assert line.endswith("calling fail(<Named>, a b, <list>):")


def test_a_call_that_cannot_be_rebuilt_is_not_shown(interpreter):
    class Broken:
        def __reduce__(self):
            return int, ("no number",)

    assert first_line(interpreter.call, fail, Broken()) == f"In worker '{interpreter.name}':"


# Source lines that only the caller has


@pytest.fixture
def cell():
    """Run source as a cell of a notebook: under the name of a file that does not exist."""

    def run(source, filename="/nowhere/ipykernel_1/1.py"):
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        names.append(filename)
        namespace = {"__name__": "__main__"}
        exec(compile(source, filename, "exec"), namespace)
        return namespace

    names = []
    yield run
    for name in names:
        del linecache.cache[name]


def test_source_of_a_cell(interpreter, cell):
    inner = cell("\ndef inner(x):\n    y = x\n    return 1 / y  # here\n")["inner"]
    outer = cell("def outer(f, x):\n    return f(x)  # and there\n", "<cell 2>")["outer"]
    text = text_of(interpreter.call, outer, inner, 0)
    assert '  File "<cell 2>", line 2, in outer\n    return f(x)  # and there\n' in text
    assert '  File "/nowhere/ipykernel_1/1.py", line 4, in inner\n    return 1 / y  # here\nZeroDivisionError' in text


def test_source_of_a_cell_in_chains_and_groups(interpreter, cell):
    fail = cell("""
def fail(x):
    try:
        return 1 / x  # first
    except ZeroDivisionError as error:
        group = ExceptionGroup("many", [error, ValueError()])
        raise group  # second
""")["fail"]
    text = text_of(interpreter.call, fail, 0)
    assert text.count("return 1 / x  # first\n") == 2
    assert text.count("    raise group  # second\n") == 1
    assert ", in fail\n    |     return 1 / x  # first\n" in text


def test_source_of_a_cell_in_a_nested_worker_and_in_records(interpreter, cell, caplog):
    namespace = cell("""
def nest():
    import owngil, logging
    with owngil.Interpreter() as it:
        try:
            it.call(fail)
        except Exception:
            logging.getLogger("nested").exception("text")
            raise  # again

def fail():
    raise ValueError("no")  # here
""")
    text = text_of(interpreter.call, namespace["nest"])
    assert 'in fail\n    raise ValueError("no")  # here\n' in text
    (record,) = caplog.records
    assert 'in fail\n    raise ValueError("no")  # here\n' in record.exc_text


def test_source_lines_that_are_found_are_unchanged(interpreter):
    text = text_of(interpreter.call, fail)
    assert text.count('raise ValueError("no")') == 1


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python keeps typed-in source since 3.13")
def test_source_of_typed_in_code():
    source = """
import owngil
it = owngil.Interpreter()
def other(x):
    return 2 / x

def fail(x):
    y = x
    return 1 / y

def later(x):
    return 3 / x

it.call(fail, 0)
it.call(lambda: [] + 0)
it.close()
"""
    done = subprocess.run(
        [sys.executable, "-i", "-q"], input=source, capture_output=True, text=True, timeout=HANGS_AFTER, check=True
    )
    assert ", line 3, in fail\n    return 1 / y\n" in done.stderr
    assert ", line 1, in <lambda>\n    it.call(lambda: [] + 0)\n" in done.stderr
