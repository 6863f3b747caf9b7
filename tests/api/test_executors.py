"""The executors' contract, run on owngil's and on the standard library's; and InterpreterPoolExecutor's own tests.

docs/coming_from.md names the deviations of owngil's executors.
"""

import concurrent.futures
import inspect
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.thread import BrokenThreadPool
from itertools import count
from pathlib import Path

import executor_contract
import pytest
from executor_tasks import identity

import owngil

LAZY = "takes the items of a generator, which may be endless, as results are read"
CHUNKS = "calls are made in chunks, and a call that raises ends its chunk"
NOTHING = "an empty call is a mistake"


class TestThreadPoolExecutor(executor_contract.ExecutorContract):
    """The reference: if this fails, the contract is wrong."""

    make = staticmethod(ThreadPoolExecutor)
    program_setup = "from concurrent.futures import ThreadPoolExecutor; executor = ThreadPoolExecutor(1)"
    deviations = (
        {}
        if sys.version_info >= (3, 14)
        else dict.fromkeys(
            ["test_map_submits_ahead_up_to_the_buffer_size", "test_map_refuses_other_buffers"],
            "no buffersize before 3.14",
        )
    )


class TestPool(executor_contract.ExecutorContract):
    make = staticmethod(owngil.Pool)
    program_setup = "import owngil; executor = owngil.Pool(1)"
    deviations = {  # noqa: RUF012
        "test_map_collects_at_once": LAZY,
        "test_all_calls_of_a_map_of_a_generator_are_made": LAZY,
        "test_a_call_that_raises_ends_no_other_call": CHUNKS,
        "test_chunks_make_no_difference": CHUNKS,
        "test_map_of_nothing": NOTHING,
    }


class TestInterpreterPoolExecutor(executor_contract.ExecutorContract):
    make = staticmethod(owngil.InterpreterPoolExecutor)
    program_setup = "import owngil; executor = owngil.InterpreterPoolExecutor(1)"
    deviations = {"test_chunks_make_no_difference": CHUNKS}  # noqa: RUF012


if sys.version_info >= (3, 14):
    _PATH = (f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})", {})

    def _make_standard(max_workers, **options):
        options = {"initializer": exec, "initargs": _PATH, **options}
        return concurrent.futures.InterpreterPoolExecutor(max_workers, **options)

    class TestStandardInterpreterPoolExecutor(executor_contract.ExecutorContract):
        """The second reference, from the standard library of Python 3.14."""

        make = staticmethod(_make_standard)
        deviations = {"test_an_initializer_must_be_callable": "it is told when a worker starts"}  # noqa: RUF012
        program_setup = "from concurrent.futures import InterpreterPoolExecutor; executor = InterpreterPoolExecutor(1)"

    def test_the_constructor_is_the_standard_one():
        ours = inspect.signature(owngil.InterpreterPoolExecutor).parameters.values()
        theirs = inspect.signature(concurrent.futures.InterpreterPoolExecutor).parameters.values()
        assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]

    def test_the_executor_is_a_subclass_of_the_standard_one():
        from concurrent.futures.interpreter import BrokenInterpreterPool

        assert issubclass(owngil.InterpreterPoolExecutor, concurrent.futures.InterpreterPoolExecutor)
        assert issubclass(owngil.InterpreterPoolExecutor.BROKEN, BrokenInterpreterPool)


def test_the_executor_is_a_subclass_of_thread_pool_executor():
    assert issubclass(owngil.InterpreterPoolExecutor, ThreadPoolExecutor)  # set_default_executor() checks it
    assert issubclass(owngil.InterpreterPoolExecutor.BROKEN, (BrokenThreadPool, owngil.BrokenPoolError))


def test_asyncio_takes_the_executor_as_its_default():
    import asyncio

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(owngil.InterpreterPoolExecutor(1))
        return await loop.run_in_executor(None, threading.get_native_id)

    assert asyncio.run(main()) != threading.get_native_id()


def test_workers_have_the_standard_names():
    with owngil.InterpreterPoolExecutor(1, "crunch") as executor:
        assert executor.submit(Path("/proc/thread-self/comm").read_text).result() == "crunch_0\n"
    with owngil.InterpreterPoolExecutor(1) as executor:
        name = executor.submit(Path("/proc/thread-self/comm").read_text).result()
        assert "InterpreterPoolExecutor".startswith(name.strip())


def test_a_broken_executor_raises_its_own_error():
    with owngil.InterpreterPoolExecutor(1, "", int, ("no number",)) as executor:
        with pytest.raises(executor.BROKEN, match="invalid literal"):
            while True:
                executor.submit(identity, 1).result(300)


def test_map_takes_a_chunk_size():
    with owngil.InterpreterPoolExecutor(1) as executor:
        assert list(executor.map(lambda x, y: x - y, count(5), iter([1, 2, 3]), chunksize=2)) == [4, 4, 4]
        assert list(executor.map(abs, {3: 0, -4: 0}, chunksize=0)) == [3, 4]


def test_the_executor_has_a_pools_methods():
    with owngil.InterpreterPoolExecutor(2) as executor:
        assert executor.broadcast(lambda: 5) == [5, 5]
        executor.interrupt()


def test_executors_work_inside_workers(pool):
    def nested():
        with owngil.InterpreterPoolExecutor(1) as executor:
            return list(executor.map(lambda x: x + 1, (k for k in range(3))))

    assert pool.submit(nested).result() == [1, 2, 3]


def test_a_future_says_why_it_cannot_be_sent(pool):
    with pytest.raises(TypeError, match="a future stays where it was made"):
        pool.submit(print, pool.submit(abs, 1))


@pytest.mark.parametrize("contract", [TestPool, TestInterpreterPoolExecutor])
def test_the_docs_name_every_deviation(contract):
    docs = " ".join((Path(__file__).parents[2] / "docs" / "coming_from.md").read_text().split())
    for reason in contract.deviations.values():
        assert reason in docs
