"""Ctrl-C that arrives just before the main thread falls asleep, when it does not end the sleep, is not lost."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HEAD = """
import ctypes, signal
import owngil

process = ctypes.CDLL(None)

def wait_for_ever(started):
    started.send(None)
    owngil.Event().wait()

started = owngil.Channel()
pool = owngil.Pool(1)
it = owngil.Interpreter()
pool.submit(abs, -1).result()  # the worker is there
full = owngil.Channel(maxsize=1)
full.send(None)
lock = owngil.Lock()
lock.acquire()
semaphore = owngil.Semaphore(0)
barrier = owngil.Barrier(2)
event = owngil.Event()
"""

WAITS = [
    "owngil.Channel().recv()",
    "owngil.Channel().recv(3600)",
    "full.send(None)",
    "lock.acquire()",
    "lock.acquire(timeout=3600)",
    "semaphore.acquire()",
    "barrier.wait()",
    "event.wait()",
    "event.wait(3600)",
    "it.call(wait_for_ever, started)",
    "pool.submit(wait_for_ever, started).result()",
    "pool.submit(wait_for_ever, started).result(3600)",
    "pool.submit(wait_for_ever, started).exception()",
    "pool.with_timeout(3600).submit(wait_for_ever, started).result()",
    "list(pool.map(wait_for_ever, [started]))",
    "list(pool.map(wait_for_ever, [started], ordered=False))",
    "pool.broadcast(wait_for_ever, started)",
]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        pytest.skip("a C compiler is missing")
    path = tmp_path_factory.mktemp("preloaded") / "signal_before_sleep.so"
    source = Path(__file__).with_name("signal_before_sleep.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", path, source, "-ldl"], check=True)
    return path


@pytest.fixture
def run(run_program, library, monkeypatch):
    others = os.environ.get("LD_PRELOAD", "")  # a sanitizer's must come first
    monkeypatch.setenv("LD_PRELOAD", f"{others} {library}".strip())
    return lambda source, *arguments: run_program(HEAD + source, *arguments, timeout=30)


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_the_wait(run, wait):
    done = run(f"""
for skipped in range(3):
    process.signal_before_sleep(skipped, 1)
    try:
        {wait}
    except KeyboardInterrupt:
        print("interrupted", process.count_unsent())
    print(pool.submit(abs, -2).result(), it.call(abs, -3))
    barrier.reset()
""")
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted 0\n2 3\n" * 3, "", 0)


@pytest.mark.parametrize(
    "end",
    [
        "pool.shutdown()",
        "it.close()",
        "pool.__exit__(None, None, None)",
        "it.__exit__(None, None, None)",
    ],
)
def test_ctrl_c_ends_the_wait_for_the_end(run, end):
    done = run(f"""
future = {end.partition(".")[0]}.submit(wait_for_ever, started)
started.recv()
process.signal_before_sleep(0, 1)
try:
    {end}
except KeyboardInterrupt:
    print("interrupted", process.count_unsent(), type(future.exception()).__name__)
""")
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted 0 KeyboardInterrupt\n", "", 0)


@pytest.mark.parametrize("timeout", [None, 3600])
def test_handlers_run_and_the_wait_goes_on(run, timeout):
    done = run(f"""
channel = owngil.Channel()
calls = []

def handle(*_):
    calls.append(len(calls))
    if len(calls) == 5:
        channel.send("sent by the handler")

signal.signal(signal.SIGINT, handle)
process.signal_before_sleep(0, 5)
print(channel.recv({timeout}), calls)
""")
    assert (done.stdout, done.stderr, done.returncode) == ("sent by the handler [0, 1, 2, 3, 4]\n", "", 0)


def test_a_timeout_is_kept(run):
    done = run("""
import time

before = time.monotonic()
for seconds in (0.001, 0.1):
    try:
        owngil.Channel().recv(seconds)
    except TimeoutError:
        print(time.monotonic() - before >= seconds)
signal.signal(signal.SIGINT, lambda *_: None)
process.signal_before_sleep(0, 3)
try:
    owngil.Channel().recv(0.1)
except TimeoutError:
    print(time.monotonic() - before >= 0.201)
""")
    assert (done.stdout, done.stderr, done.returncode) == ("True\nTrue\nTrue\n", "", 0)
