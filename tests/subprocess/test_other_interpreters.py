"""Interpreters of the standard library: owngil in them, and beside its workers."""

import sys

import pytest

HELPERS = """
    import os, sys, textwrap, threading
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters

    def create(mode):
        if sys.version_info < (3, 13):
            return interpreters.create(isolated=mode == "isolated")
        return interpreters.create(mode)

    def run(interpreter, source):
        excinfo = interpreters.run_string(interpreter, textwrap.dedent(source))
        assert not excinfo, excinfo.formatted
"""


@pytest.fixture
def ends_well(run_program):
    """Run a program that must exit with 0, and print nothing on stderr but what CPython says of its interpreters."""

    def run(source, *arguments):
        done = run_program(source, *arguments)
        lines = [line for line in done.stderr.splitlines() if "remaining subinterpreters" not in line]
        assert (done.returncode, lines) == (0, []), done.stdout + done.stderr

    return run


MODES = pytest.mark.parametrize("mode", ["isolated", "legacy"])

REFUSED = """
    import owngil
    assert owngil.Channel and owngil.Lock
    channel = owngil.Channel()
    channel.send([1, 2])
    assert channel.recv() == [1, 2]
    for start in (lambda: owngil.Pool(1), owngil.Interpreter, lambda: owngil.run(abs, -1)):
        try:
            start()
        except RuntimeError as error:
            assert "only the main interpreter and owngil's own workers can" in str(error), error
        else:
            raise AssertionError("a worker was started")
"""


@MODES
@pytest.mark.parametrize("first", ["main", "other"])
def test_other_interpreters_cannot_start_workers(ends_well, mode, first):
    ends_well(
        HELPERS
        + f"""
    if {first!r} == "main":
        import owngil
        assert owngil.run(abs, -1) == 1
    for end in ("destroyed", "left"):
        interpreter = create({mode!r})
        run(interpreter, {REFUSED!r})
        if end == "destroyed":
            interpreters.destroy(interpreter)
    import owngil
    assert owngil.run(abs, -1) == 1
    run(interpreter, {REFUSED!r})
    """
    )


@MODES
def test_an_interpreter_that_a_worker_made_is_no_worker(ends_well, mode):
    ends_well(
        f"""
    import owngil

    def nest():
{"".join(f"    {line}" + chr(10) for line in HELPERS.splitlines())}
        nested = create({mode!r})
        run(nested, {REFUSED!r})
        interpreters.destroy(nested)
        with owngil.Interpreter() as it:
            return it.call(abs, -1)

    with owngil.Interpreter() as it:
        assert it.call(nest) == 1
        assert it.call(nest) == 1
    """
    )


BESIDE = (
    HELPERS
    + """
    import owngil, numpy as np
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks with several threads
    mode, order = sys.argv[1:]
    # On 3.12, CPython itself refuses more modules in an isolated interpreter, and crashes after others.
    more = "datetime, decimal, asyncio, sqlite3, " if sys.version_info >= (3, 13) else ""
    SOURCE = f"import {more}json, hashlib, logging; assert json.dumps([1]) == '[1]'"

    def task(array):
        import datetime, decimal, sqlite3
        return float((array + 1).sum()), str(decimal.Decimal(1))

    def work(pool):
        assert pool.submit(task, np.ones(5)).result() == (10.0, "1")
        assert list(pool.map(abs, range(-20, 0))) == list(range(20, 0, -1))

    if order == "pool first":
        pool = owngil.Pool(2)
        work(pool)
        interpreter = create(mode)
        run(interpreter, SOURCE)
        work(pool)
        pool.shutdown()
        run(interpreter, SOURCE)
        interpreters.destroy(interpreter)
    elif order == "interpreter first":
        interpreter = create(mode)
        run(interpreter, SOURCE)
        pool = owngil.Pool(2)
        work(pool)
        interpreters.destroy(interpreter)
        work(pool)
        pool.shutdown()
    elif order == "both left open":
        interpreter = create(mode)
        run(interpreter, SOURCE)
        pool = owngil.Pool(2)
        work(pool)
        run(interpreter, SOURCE)
    elif order == "fork":
        interpreter = create(mode)
        run(interpreter, SOURCE)
        pool = owngil.Pool(2)
        work(pool)
        for _ in range(3):
            child = os.fork()
            if child == 0:
                try:
                    with owngil.Pool(1) as own:
                        work(own)
                except BaseException:
                    os._exit(1)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        work(pool)
    else:  # both come and go at the same time
        def come_and_go():
            for _ in range(5):
                interpreter = create(mode)
                run(interpreter, SOURCE)
                interpreters.destroy(interpreter)
            ended.append(True)

        ended = []
        threads = [threading.Thread(target=come_and_go) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            with owngil.Pool(2) as pool:
                work(pool)
        for thread in threads:
            thread.join()
        assert ended == [True, True]
"""
)


@MODES
@pytest.mark.parametrize("order", ["pool first", "interpreter first", "both left open", "fork", "at once"])
def test_pools_work_beside_other_interpreters(ends_well, mode, order):
    ends_well(BESIDE, mode, order)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="before 3.14, there is no InterpreterPoolExecutor")
def test_pools_work_beside_the_standard_librarys_executor(ends_well):
    ends_well("""
        from concurrent.futures import InterpreterPoolExecutor
        import owngil

        def check(executor, pool):
            futures = [kind.submit(abs, -k) for k in range(20) for kind in (executor, pool)]
            assert [future.result() for future in futures] == [k for k in range(20) for _ in range(2)]

        with InterpreterPoolExecutor(2) as executor, owngil.Pool(2) as pool:
            check(executor, pool)
        with owngil.Pool(2) as pool, InterpreterPoolExecutor(2) as executor:
            check(executor, pool)
        left_open = InterpreterPoolExecutor(1), owngil.Pool(1)
        check(*left_open)
    """)
