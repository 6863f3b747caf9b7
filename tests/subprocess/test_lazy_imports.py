"""Python 3.15's lazy imports (PEP 810), in main and in workers, in all the ways to ask for them."""

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.version_info < (3, 15), reason="before 3.15, there are no lazy imports")

PROGRAM = """
    import sys
    {before}
    import asyncio
    import json.decoder
    import numpy as np
    from collections import OrderedDict
    import owngil

    def compute(array):
        import logging
        logging.warning("from a worker")
        async def three():
            return 3
        text = json.decoder.JSONDecoder().decode("[1]")
        return float(np.add(array, 1).sum()), OrderedDict(a=1), text, asyncio.run(three()), sys.get_lazy_imports()

    def fail():
        raise owngil.IsolationError("on purpose")

    def nest():
        import owngil
        with owngil.Interpreter() as it:
            return it.call(compute, np.ones(3))

    with owngil.Pool(2, preload=["zlib"]) as pool:
        expected = (6.0, {{"a": 1}}, [1], 3, {mode!r})
        assert pool.submit(compute, np.ones(3)).result() == expected, pool.submit(compute, np.ones(3)).result()
        assert list(pool.map(compute, [np.ones(3)] * 4)) == [expected] * 4
        assert pool.submit(nest).result() == expected
        try:
            pool.submit(fail).result()
        except owngil.IsolationError as error:
            assert "on purpose" in str(error)
        else:
            raise AssertionError("no error")
        channel = owngil.Channel()
        pool.submit(channel.send, np.arange(3)).result()
        assert channel.recv().sum() == 3
        pool.submit(print, "printed").result()
    left_open = owngil.Pool(1)
    assert left_open.submit(abs, -1).result() == 1
    unused = owngil.Pool(1)
"""


@pytest.mark.parametrize("mode", ["all", "normal"])
@pytest.mark.parametrize("how", ["environment", "call"])
def test_workers_have_the_mode_of_their_caller(run_program, monkeypatch, mode, how):
    if how == "environment":
        monkeypatch.setenv("PYTHON_LAZY_IMPORTS", mode)
    done = run_program(PROGRAM.format(before=f"sys.set_lazy_imports({mode!r})" if how == "call" else "", mode=mode))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "printed\n"
    assert set(done.stderr.splitlines()) == {"from a worker"}, done.stderr


def test_the_mode_may_be_another_one_than_the_environment_says(run_program, monkeypatch):
    monkeypatch.setenv("PYTHON_LAZY_IMPORTS", "all")
    done = run_program(PROGRAM.format(before="sys.set_lazy_imports('normal')", mode="normal"))
    assert done.returncode == 0, done.stderr


def test_lazy_import_statements(ends_cleanly, tmp_path):
    (tmp_path / "users.py").write_text(
        "lazy import numpy as np\nlazy import owngil\nlazy from json import dumps\n"
        "def compute(n):\n    return dumps(float(np.ones(n).sum()))\n"
        "def nest(n):\n    with owngil.Interpreter() as it:\n        return it.call(compute, n)\n"
    )
    ends_cleanly("""
        import pickle
        lazy import numpy as np
        lazy import owngil
        lazy import users
        lazy from json import loads
        lazy import not_there

        def compute():
            return np.ones(2).sum() + loads(users.compute(3))

        def missing():
            return not_there.name

        with owngil.Pool(2) as pool:
            assert pool.submit(users.compute, 3).result() == "3.0"
            assert pool.submit(users.nest, 3).result() == "3.0"
            assert pool.submit(compute).result() == 5.0
            try:
                pool.submit(missing).result()
            except pickle.PicklingError as error:
                assert "not_there" in str(error)
            else:
                raise AssertionError("no error")
            assert pool.submit(abs, -1).result() == 1
    """)
