"""All extension modules of the standard library: workers refuse those that CPython refuses, and import the others."""

import subprocess
import sys
import textwrap
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import owngil
from owngil._isolation import policy

# Imports one module in an interpreter of CPython's own kind, with a GIL of its own and with CPython's check.
IN_AN_INTERPRETER = """
    import sys
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    isolated = {"isolated": True} if sys.version_info < (3, 13) else {}
    source = f'''
    try:
        import {sys.argv[1]}
    except ImportError as error:
        if "does not support loading in subinterpreters" not in str(error):
            raise
        print("refused", flush=True)
    else:
        print("imported", flush=True)
    '''
    import textwrap
    interpreters.run_string(interpreters.create(**isolated), textwrap.dedent(source))
"""


def all_names() -> list[str]:
    names = set(sys.builtin_module_names)
    for folder in map(Path, sys.path):
        if folder.name == "lib-dynload":
            files = [file.name for file in folder.iterdir()]
            names |= {file.partition(".")[0] for file in files if file.endswith(tuple(EXTENSION_SUFFIXES))}
    return sorted(names)


def cpython_refuses(name: str) -> bool:
    command = [sys.executable, "-I", "-W", "ignore", "-c", textwrap.dedent(IN_AN_INTERPRETER), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # The answer counts, not the exit code: 3.12.1 crashes when it ends the interpreter that imported _asyncio.
    assert done.stdout in ("refused\n", "imported\n") or name == "_zoneinfo", done.stdout + done.stderr
    return done.stdout != "imported\n"


@pytest.fixture(scope="module")
def refused() -> set[str]:
    """The modules of this Python that CPython refuses."""
    return {name for name in all_names() if cpython_refuses(name)}


def try_all(names):
    import importlib
    import warnings

    found = set()
    for name in names:
        try:
            with warnings.catch_warnings(action="ignore"):
                importlib.import_module(name)
        except ImportError as error:
            if "does not support sub-interpreters" not in str(error):
                raise
            found.add(name)
    return found


def test_workers_refuse_what_cpython_refuses_but_for_what_they_can_have(refused, interpreter):
    made_to_work = set(policy.HARMLESS_BUILTINS) | policy._PRIVATE_STDLIB
    assert interpreter.call(try_all, all_names()) == refused - made_to_work


def test_the_table_has_nothing_that_cpython_has_and_does_not_refuse(refused):
    assert policy.STDLIB_REFUSED.keys() & set(all_names()) <= refused


def try_often(names, times):
    import threading

    outcomes = []
    start = threading.Barrier(4)

    def work():
        start.wait()
        outcomes.append([try_all(names) for _ in range(times)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_a_refusal_may_be_repeated_from_several_threads(refused):
    names = sorted(refused & policy.STDLIB_REFUSED.keys() - policy._PRIVATE_STDLIB)
    with owngil.Interpreter() as it:
        outcomes = it.call(try_often, names, 250)
        assert outcomes == [[set(names)] * 250] * 4
        assert it.call(abs, -1) == 1


def test_threads_of_a_worker_import_while_main_is_busy(interpreter):
    """CPython's check is never on in a worker, not even while another thread makes a module of Python's own."""

    def work():
        import _imp
        import importlib
        import sys
        import threading

        override = _imp._override_multi_interp_extensions_check
        names = ["_json", "_bisect", "_heapq", "_csv", "_queue", "_struct", "zlib"]
        stop = threading.Event()
        seen = set()

        def watch():
            while not stop.is_set():
                seen.add(override(-1))

        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(20):
            for name in names:
                sys.modules.pop(name, None)
                importlib.import_module(name)
        stop.set()
        watcher.join()
        return seen

    future = interpreter.submit(work)
    while not future.done():
        sum(range(1000))
    assert future.result() == {-1}
