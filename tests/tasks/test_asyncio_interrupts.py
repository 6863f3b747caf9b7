"""Interrupts and limits of tasks that run an event loop, for every kind of wait."""

import sys
from pathlib import Path

import pytest

import owngil

#: Seconds that are enough to begin to wait, when asyncio has been imported.
SHORT = 0.5


def run_loop(kind, started, events):
    """Run a loop that waits for ever, and report each part of its end."""
    import asyncio
    import socket

    async def wait():
        loop = asyncio.get_running_loop()
        loop.call_soon(started.send, None)
        if kind == "timer":
            await asyncio.sleep(1000)
        elif kind == "socket":
            one, other = socket.socketpair()
            with one, other:
                one.setblocking(False)
                await loop.sock_recv(one, 1)
        elif kind == "stream":
            one, other = socket.socketpair()
            with other:
                reader, writer = await asyncio.open_connection(sock=one)
                try:
                    await reader.readline()
                finally:
                    writer.close()
                    await writer.wait_closed()
        elif kind == "tasks":
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(asyncio.sleep(1000))
        else:
            await owngil.Channel().arecv()

    async def main():
        try:
            await wait()
        except BaseException as error:
            events.send(type(error).__name__)
            raise
        finally:
            await asyncio.sleep(0)
            events.send("cleaned up")

    try:
        asyncio.run(main(), debug=kind == "timer")
    except BaseException as error:
        events.send(type(error).__name__)
        raise


KINDS = ["timer", "socket", "stream", "tasks", "channel"]
ENDS = ["CancelledError", "cleaned up", "KeyboardInterrupt"]
# The interrupt may also come while the coroutine itself runs.
ENDS_EARLY = ["KeyboardInterrupt", "cleaned up", "KeyboardInterrupt"]


def take_all(channel):
    return [channel.recv() for _ in range(len(channel))]


def list_descriptors():
    import gc
    import os

    gc.collect()
    return sorted(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_ends_a_loop(pool, kind):
    started, events = owngil.Channel(), owngil.Channel()
    pool.broadcast(__import__, "asyncio")
    limit = SHORT
    while not len(started):  # on a busy machine, the limit may end before the wait begins: then nothing is reported
        take_all(events)
        with pytest.raises(TimeoutError, match=r"run_loop\(\) was interrupted") as caught:
            pool.with_timeout(limit).submit(run_loop, kind, started, events).result()
        limit *= 2
    assert take_all(events) in (ENDS, ENDS_EARLY)
    assert str(Path(owngil.__file__).parent) not in str(caught.value.__cause__)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_ends_a_loop_once(interpreter, kind):
    started, events = owngil.Channel(), owngil.Channel()
    interpreter.call(__import__, "asyncio")
    before = None
    for _ in range(5):
        future = interpreter.submit(run_loop, kind, started, events)
        started.recv()
        interpreter.interrupt()
        with pytest.raises(KeyboardInterrupt):
            future.result()
        assert take_all(events) in (ENDS, ENDS_EARLY)
        after = interpreter.call(list_descriptors)
        assert after == (before or after)
        before = after
    assert interpreter.call(sum, [1, 2]) == 3


def test_a_loop_that_is_run_again_and_again(interpreter):
    """A loop watches one more descriptor for all its runs; an interrupt between two runs does not hit the second."""

    def run_often(started):
        import asyncio

        loop = asyncio.new_event_loop()
        loop.run_until_complete(asyncio.sleep(0))
        watched = len(loop._selector.get_map())
        for _ in range(100):
            loop.run_until_complete(asyncio.sleep(0))
        assert len(loop._selector.get_map()) == watched
        started.send(None)
        try:
            while True:
                pass
        except KeyboardInterrupt:
            loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        return watched

    started = owngil.Channel()
    future = interpreter.submit(run_often, started)
    started.recv()
    interpreter.interrupt()
    assert future.result() == 2


def test_loops_of_other_threads_are_left_alone(interpreter):
    def run_two(started, gate):
        import asyncio
        import threading

        async def wait():
            await asyncio.get_running_loop().run_in_executor(None, gate.recv)
            return len(asyncio.get_running_loop()._selector.get_map())

        outcome = []
        thread = threading.Thread(target=lambda: outcome.append(asyncio.run(wait())))
        thread.start()
        try:
            run_loop("timer", started, owngil.Channel())
        except KeyboardInterrupt:
            gate.send(None)
            thread.join()
        return outcome

    started, gate = owngil.Channel(), owngil.Channel()
    future = interpreter.submit(run_two, started, gate)
    started.recv()
    interpreter.interrupt()
    assert future.result() == [1]  # the loop watches only its own descriptor


def test_workers_do_not_import_asyncio():
    def look():
        return [name for name in ("asyncio", "owngil._wire.asyncio_bridge", "selectors") if name in sys.modules]

    with owngil.Interpreter() as it:
        assert it.call(look) == []


def test_a_loop_that_watches_no_descriptors(interpreter):
    def run():
        import asyncio

        class Loop(asyncio.base_events.BaseEventLoop):
            def _process_events(self, events):
                pass

            def _write_to_self(self):
                pass

            class _selector:
                @staticmethod
                def select(timeout):
                    return []

        loop = Loop()
        result = loop.run_until_complete(asyncio.sleep(0, "done"))
        loop.close()
        return result

    assert interpreter.call(run) == "done"
