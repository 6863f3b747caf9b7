"""Calls with a limit of time, and the reports on calls that do not notice the interrupt."""

import concurrent.futures
import math
import os
import sys
import threading
import time
from pathlib import Path

import pytest

import owngil
from owngil._tasks.stuck import describe_stuck
from owngil._wire.protocol import GRACE

#: A limit that lets a task begin on a busy machine too.
SHORT = 0.2
LONG = 300


def _run_for_ever():
    while True:
        pass


def _spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds


def _sleep(seconds):
    time.sleep(seconds)
    return seconds


class Listener:
    """A stderr that sets an event when text is written."""

    def __init__(self):
        self.text = ""
        self.written = threading.Event()

    def write(self, text):
        self.text += text
        if "owngil: worker" in self.text:
            self.written.set()

    def flush(self):
        pass


def test_a_call_that_takes_too_long_is_interrupted(pool):
    future = pool.with_timeout(SHORT).submit(_run_for_ever)
    with pytest.raises(TimeoutError) as caught:
        future.result()
    assert "_run_for_ever() was interrupted in worker 'pool-" in str(caught.value)
    assert f"after {SHORT} s" in str(caught.value)
    shown = str(caught.value.__cause__)
    assert "in _run_for_ever" in shown
    assert "KeyboardInterrupt" in shown
    assert str(Path(owngil.__file__).parent) not in shown


def test_a_call_that_is_in_time_has_its_result(pool):
    limited = pool.with_timeout(LONG)
    assert limited.submit(lambda a, b: a - b, 5, b=3).result() == 2
    assert list(limited.map(pow, range(4), [2] * 4)) == [0, 1, 4, 9]
    with pytest.raises(LookupError, match="its own"):
        limited.submit(_raise, LookupError("its own")).result()


def _raise(error):
    raise error


def test_limits_hit_no_other_task():
    with owngil.Pool(1) as pool:
        limited = pool.with_timeout(0.002)
        outcomes = {"in time": 0, "too late": 0}
        pairs = []
        for k in range(200):
            pairs.append((limited.submit(_spin, 0.001 + k % 10 * 0.0002), pool.submit(_spin, 0.0005)))
        for call, other in pairs:
            outcomes["in time" if call.exception() is None else "too late"] += 1
            assert isinstance(call.exception(), TimeoutError | None)
            assert other.result() == 0.0005
        assert outcomes["too late"] > 0


def test_the_limit_of_one_call_hits_none_of_a_million_others(pool):
    assert sum(pool.with_timeout(LONG).map(abs, range(100_000))) == sum(range(100_000))
    assert sum(pool.map(abs, range(100_000))) == sum(range(100_000))


def test_a_call_that_catches_the_interrupt_is_late_and_not_interrupted_again(pool):
    def catch_and_go_on(channel):
        try:
            _run_for_ever()
        except KeyboardInterrupt:
            channel.send(_spin(2 * SHORT))
        return "too late"

    channel = owngil.Channel()
    with pytest.raises(TimeoutError):
        pool.with_timeout(SHORT).submit(catch_and_go_on, channel).result()
    assert channel.recv(timeout=0) == 2 * SHORT


def test_a_c_function_that_ends_after_its_limit_is_late(pool):
    with pytest.raises(TimeoutError, match=r"time\.sleep\(\) was interrupted"):
        pool.with_timeout(SHORT).submit(time.sleep, 2 * SHORT).result()
    assert pool.submit(_spin, SHORT).result() == SHORT


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_any_exception_of_an_interrupted_call_becomes_a_timeout(pool, error):
    def fail():
        try:
            _run_for_ever()
        finally:
            raise error("while cleaning up")

    with pytest.raises(TimeoutError) as caught:
        pool.with_timeout(SHORT).submit(fail).result()
    assert "while cleaning up" in str(caught.value.__cause__)


def test_the_exception_of_the_call_is_kept_when_that_of_the_limit_cannot_be_made(pool):
    def run():
        from owngil import _core

        def fail():
            try:
                _run_for_ever()
            finally:
                raise ValueError("while cleaning up")

        def timed_out():
            raise LookupError("no exception for the limit")

        try:
            _core.run_limited(SHORT, 0.0, timed_out, fail, (), {})
        except LookupError as error:
            return repr(error.__cause__)

    assert pool.submit(run).result() == "ValueError('while cleaning up')"


def test_waits_and_event_loops_are_interrupted(pool):
    def wait_for_a_channel():
        owngil.Channel().recv()

    def wait_for_a_task():
        with owngil.Pool(1) as inner:
            inner.submit(_run_for_ever).result()

    def wait_in_asyncio():
        import asyncio

        asyncio.run(owngil.Channel().arecv())

    for wait in (wait_for_a_channel, wait_in_asyncio, wait_for_a_task):
        with pytest.raises(TimeoutError, match=wait.__name__):
            pool.with_timeout(SHORT).submit(wait).result()


def test_time_in_the_queue_does_not_count():
    with owngil.Pool(1) as pool:
        gate = owngil.Channel()
        first = pool.submit(gate.recv)
        second = pool.with_timeout(3).submit(abs, -1)
        time.sleep(3.2)  # longer than the limit
        gate.send("opened")
        assert (first.result(), second.result()) == ("opened", 1)


@pytest.mark.parametrize("ordered", [True, False])
def test_the_limit_is_for_each_call_of_a_map(pool, ordered):
    seconds = [0.1] * 40  # the sum is more than the limit
    assert list(pool.with_timeout(3).map(_sleep, seconds, chunksize=40, ordered=ordered)) == seconds


def test_a_map_ends_with_the_call_that_takes_too_long(pool):
    results = pool.with_timeout(2).map(_spin, [0, 0.01, LONG, 0], chunksize=4)
    assert [next(results), next(results)] == [0, 0.01]
    with pytest.raises(TimeoutError, match=r"_spin\(\) was interrupted"):
        next(results)


def test_the_view_is_an_executor_of_its_own(pool):
    with pool.with_timeout(LONG) as limited:
        assert isinstance(limited, concurrent.futures.Executor)
        gate = owngil.Channel()
        future = limited.submit(gate.recv)
        threading.Thread(target=gate.send, args=(1,)).start()
    assert future.done()
    with pytest.raises(RuntimeError, match="this view of the pool is shut down"):
        limited.submit(abs, 1)
    with pytest.raises(RuntimeError, match="this view of the pool is shut down"):
        limited.map(abs, [1])
    assert pool.submit(abs, -1).result() == 1
    assert limited.with_timeout(LONG).submit(abs, -1).result() == 1


def test_shutdown_of_the_view_cancels_its_own_only():
    with owngil.Pool(1) as pool:
        gate = owngil.Channel()
        running = pool.submit(gate.recv)
        limited = pool.with_timeout(LONG)
        mine, other = limited.submit(abs, 1), pool.submit(abs, -2)
        limited.shutdown(wait=False, cancel_futures=True)
        gate.send(0)
        assert mine.cancelled()
        assert (running.result(), other.result()) == (0, 2)


@pytest.mark.parametrize(
    "wait", ["started.recv(); os.kill(os.getpid(), signal.SIGINT); time.sleep(300)", "kill.start()"]
)
def test_ctrl_c_ends_the_block_of_a_view(ends_cleanly, wait):
    out = ends_cleanly(
        f"""
        import os, signal, threading, time
        import owngil

        def run_for_ever(started):
            started.send(None)
            owngil.Event().wait()

        started = owngil.Channel()
        kill = threading.Thread(target=lambda: (started.recv(), os.kill(os.getpid(), signal.SIGINT)))
        with owngil.Pool(1) as pool:
            try:
                with pool.with_timeout({LONG}) as limited:
                    running, waiting = limited.submit(run_for_ever, started), limited.submit(abs, -1)
                    {wait}
            except KeyboardInterrupt:
                print(type(running.exception()).__name__, waiting.cancelled(), pool.submit(abs, -2).result())
        """
    )
    assert out == "KeyboardInterrupt True 2\n"


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_invalid_arguments_are_refused(pool, seconds):
    with pytest.raises(ValueError, match="more than 0 seconds"):
        pool.with_timeout(seconds)


def test_none_means_no_limit(pool):
    assert pool.with_timeout(math.inf).submit(abs, -1).result() == 1


def test_errors_name_the_function_and_not_its_limit(pool):
    limited = pool.with_timeout(LONG)
    with pytest.raises(TypeError, match=r"_raise\(\) cannot be sent"):
        limited.submit(_raise, threading.Lock())
    with pytest.raises(TypeError, match=r"the result of _thread\."):
        limited.submit(threading.Lock).result()


def _read_with_the_gil(fd):
    import ctypes

    ctypes.PyDLL(None).read(fd, ctypes.create_string_buffer(1), 1)


@pytest.mark.parametrize("keeps_gil", [False, True], ids=["releases the GIL", "keeps the GIL"])
def test_a_stuck_task_is_reported(pool, monkeypatch, keeps_gil):
    stderr = Listener()
    monkeypatch.setattr(sys, "stderr", stderr)
    receiver, sender = os.pipe()
    try:
        start = time.monotonic()
        future = pool.with_timeout(SHORT).submit(
            _read_with_the_gil if keeps_gil else os.read, receiver, *[1][keeps_gil:]
        )
        assert stderr.written.wait(300)
        assert time.monotonic() - start > GRACE
        os.write(sender, b"1")
        with pytest.raises(TimeoutError):
            future.result()
    finally:
        os.close(sender)
        os.close(receiver)
    assert "owngil: worker 'pool-" in stderr.text
    assert "is still running 2.5 s after its task was interrupted." in stderr.text
    assert ("keeps the worker's GIL" in stderr.text) == keeps_gil
    assert stderr.text.count("\n") == 1  # os.read() itself has no frame


def test_the_stack_of_a_stuck_task_is_reported(pool, monkeypatch):
    def outer(fd):
        return [inner(fd)]

    def inner(fd):
        return os.read(fd, 1)

    stderr = Listener()
    monkeypatch.setattr(sys, "stderr", stderr)
    receiver, sender = os.pipe()
    try:
        future = pool.with_timeout(SHORT).submit(outer, receiver)
        assert stderr.written.wait(300)
        os.write(sender, b"1")
        with pytest.raises(TimeoutError):
            future.result()
    finally:
        os.close(sender)
        os.close(receiver)
    lines = stderr.text.splitlines()
    assert [line.strip() for line in lines[2::2]] == ["return [inner(fd)]", "return os.read(fd, 1)"]
    assert [line.endswith(f"in {name}") for line, name in zip(lines[1::2], ("outer", "inner"), strict=True)]


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r", "\n"])
def test_a_stack_with_ends_of_lines_in_the_names_of_files(end):
    files = [f"/data/inner{end}.py", "/data/outer.py"]
    stack = "".join(f"{file}\x1f{k}\x1ff{k}\n" for k, file in enumerate(files)).encode()
    text = describe_stuck("w-0", [stack], waits=False, starts=False)
    assert text.endswith(f'  File "/data/outer.py", line 1, in f1\n  File "/data/inner{end}.py", line 0, in f0\n')


@pytest.mark.parametrize("limit", [None, "5", b"5", [1]])
def test_limits_that_are_no_numbers(pool, limit):
    with pytest.raises(TypeError, match="the limit must be a number of seconds, more than 0, not "):
        pool.with_timeout(limit)
