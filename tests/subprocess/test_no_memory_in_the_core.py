"""The core gets no memory in one thread: nothing waits for ever, and shared memory stays shared."""

from pathlib import Path

import pytest

HEAD = """
import ctypes
import owngil

def refuse(thread, only_malloc=False):
    ctypes.CDLL(None).refuse_memory(thread, int(only_malloc))

"""


@pytest.fixture
def run(run_program, preload):
    preload(Path(__file__).with_name("no_memory.c"))

    def run(source):
        result = run_program(HEAD + source)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def test_the_end_of_a_worker_is_reported_without_memory(run):
    out = run("""
pool = owngil.Pool(1, thread_name_prefix="poor")
pool.submit(abs, -1).result()
refuse(b"poor-0")
pool.shutdown()
print("ended")
""")
    assert out == "ended\n"


def test_the_failure_of_a_worker_is_reported_without_memory(run):
    out = run("""
with owngil.Pool(1, thread_name_prefix="poor") as pool:
    pool.submit(abs, -1).result()
    try:
        pool.submit(refuse, b"poor-0").result()
    except owngil.BrokenPoolError as error:
        print("broken")
""")
    assert out == "broken\n"


def test_a_shared_array_is_not_sent_as_another_without_memory(run):
    out = run("""
import threading
shared = owngil.zeros(3)
def fill(array):
    array[:] = 1
with owngil.Pool(1) as pool:
    pool.submit(fill, shared).result()
    with open("/proc/thread-self/comm") as file:
        refuse(file.read().strip().encode(), only_malloc=True)
    try:
        pool.submit(fill, shared)
    except MemoryError:
        print("MemoryError")
    refuse(b"no thread")
""")
    assert out == "MemoryError\n"


def test_an_interpreter_that_misses_a_message_of_a_pool_fails_its_futures(run):
    out = run("""
import time
from owngil._wire.protocol import CANCEL

def wait(pool, gate, started):
    pool.submit(gate.wait)
    future = pool.submit(abs, -1)
    started.set()
    try:
        future.result()
    except owngil.BrokenPoolError:
        return "it fails"

gate, started = owngil.Event(), owngil.Event()
pool = owngil.Pool(1)
with owngil.Interpreter() as it:
    future = it.submit(wait, pool, gate, started)
    started.wait()
    while not pool._dispatcher._lender._clients:
        time.sleep(0.001)  # the pool's collector has not heard of the interpreter yet
    with open("/proc/thread-self/comm") as file:
        refuse(file.read().strip().encode())
    pool._dispatcher._lender.tell_all(CANCEL)  # as shutdown(cancel_futures=True) does
    refuse(b"no thread")
    print(future.result())
    gate.set()
pool.shutdown()
""")
    assert out == "it fails\n"
