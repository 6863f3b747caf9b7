"""Channels in coroutines: asend, arecv and async for."""

import asyncio
import gc
import os
import threading

import numpy as np
import pytest

import owngil


def run(main):
    return asyncio.run(main())


async def waiting(coroutine):
    """Start a task and return it when it waits."""
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)
    assert not task.done()
    return task


def count_descriptors():
    """Return the number of open descriptors; it may fall meanwhile, as descriptors of earlier tests are closed."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_an_object_in_the_channel_is_received_without_waiting():
    async def main():
        channel = owngil.Channel()
        await channel.asend(1)
        channel.send(2)
        return await channel.arecv(), await channel.arecv(timeout=0)

    assert run(main) == (1, 2)


def test_a_coroutine_waits_while_others_run():
    async def main():
        channel = owngil.Channel()
        task = await waiting(channel.arecv())
        channel.send("a")
        return await task

    assert run(main) == "a"


def test_a_coroutine_waits_for_room():
    async def main():
        channel = owngil.Channel(1)
        await channel.asend(1)
        tasks = [await waiting(channel.asend(k)) for k in (2, 3)]
        assert len(channel) == 1
        received = [channel.recv(), channel.recv(), channel.recv()]
        await asyncio.gather(*tasks)
        return received

    assert run(main) == [1, 2, 3]


def test_coroutines_and_threads_wait_in_one_line():
    async def main():
        loop = asyncio.get_running_loop()
        channel, got = owngil.Channel(), []
        first = await waiting(channel.arecv())
        # Nothing announces that the thread waits; the test checks that it does not take the first waiter's object.
        thread = threading.Thread(target=lambda: got.append(channel.recv()))
        thread.start()
        channel.send("first")
        assert await first == "first"
        channel.send("thread")
        await loop.run_in_executor(None, thread.join)
        return got

    assert run(main) == ["thread"]


def test_the_longest_waiter_is_served_first():
    async def main():
        channel, order = owngil.Channel(), []

        async def receive(k):
            order.append((k, await channel.arecv()))

        tasks = [await waiting(receive(k)) for k in range(50)]
        for k in range(50):
            channel.send(k)
        await asyncio.gather(*tasks)
        return order

    assert run(main) == [(k, k) for k in range(50)]


def test_senders_are_served_in_their_order_too():
    async def main():
        channel = owngil.Channel(1)
        channel.send(-1)
        tasks = [await waiting(channel.asend(k)) for k in range(50)]
        received = [await channel.arecv() for _ in range(51)]
        await asyncio.gather(*tasks)
        return received

    assert run(main) == list(range(-1, 50))


def test_arrays_are_not_copied(interpreter):
    async def main():
        channel = owngil.Channel()
        array = np.arange(1000.0)
        await channel.asend(array)
        received = await channel.arecv()
        assert np.shares_memory(received, array)
        assert not received.flags.writeable
        task = await waiting(channel.arecv())
        await asyncio.get_running_loop().run_in_executor(
            None, lambda: interpreter.call(lambda channel: channel.send(__import__("numpy").ones(5)), channel)
        )
        np.testing.assert_array_equal(await task, np.ones(5))

    run(main)


def test_async_for_ends_when_the_channel_is_closed_and_empty():
    async def main():
        channel = owngil.Channel()

        async def send():
            for k in range(5):
                await channel.asend(k)
                await asyncio.sleep(0)
            channel.close()

        sender = asyncio.create_task(send())
        received = [obj async for obj in channel]
        await sender
        return received

    assert run(main) == list(range(5))


def test_close_wakes_coroutines():
    async def main():
        channel, full = owngil.Channel(), owngil.Channel(1)
        full.send(0)
        tasks = [await waiting(channel.arecv()) for _ in range(3)] + [await waiting(full.asend(1)) for _ in range(3)]
        channel.close()
        full.close()
        for task in tasks:
            with pytest.raises(owngil.ChannelClosed):
                await task
        for coroutine in (channel.arecv(), full.asend(2)):
            with pytest.raises(owngil.ChannelClosed):
                await coroutine
        assert await full.arecv() == 0

    run(main)


def test_timeouts():
    async def main():
        channel = owngil.Channel(1)
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match=f"nothing was received for {timeout} s"):
                await channel.arecv(timeout)
        channel.send(1)
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match=f"full for {timeout} s"):
                await channel.asend(2, timeout)
        assert [await channel.arecv(300), len(channel)] == [1, 0]
        task = await waiting(channel.arecv(float("inf")))
        channel.send(3)
        assert await task == 3
        for bad in (-1, float("nan")):
            with pytest.raises(ValueError, match="timeout"):
                await channel.arecv(bad)
        with pytest.raises(TypeError):
            await channel.arecv("soon")

    run(main)


def test_an_object_that_arrives_at_the_timeout_is_received():
    async def main():
        channel = owngil.Channel()
        loop = asyncio.get_running_loop()
        task = await waiting(channel.arecv(0.5))
        # The loop does not run while the time passes: when it runs again, both the timer and the message are due.
        threading.Event().wait(0.6)
        channel.send("in time")
        assert await task == "in time"
        assert loop.time() > 0

    run(main)


def test_a_cancelled_receiver_leaves_the_line():
    async def main():
        channel = owngil.Channel()
        first, second = await waiting(channel.arecv()), await waiting(channel.arecv())
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        channel.send(1)
        return await second

    assert run(main) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_objects_of_cancelled_receivers_go_back_to_their_places(order):
    async def main():
        channel = owngil.Channel(3)
        tasks = [await waiting(channel.arecv()) for _ in range(3)]
        for k in range(6):
            channel.send(k)
        assert len(channel) == 3
        for k in order:  # all before the loop notifies the tasks
            tasks[k].cancel()
        await asyncio.wait(tasks)
        late = await waiting(channel.asend(6))
        received = [channel.recv(0) for _ in range(7)]
        await late
        assert all(task.cancelled() for task in tasks)
        return received

    assert run(main) == list(range(7))


def test_the_object_of_a_cancelled_receiver_goes_to_the_next_one():
    async def main():
        channel = owngil.Channel()
        first, second = await waiting(channel.arecv()), await waiting(channel.arecv())
        channel.send("lucky")
        first.cancel()
        assert await second == "lucky"
        assert first.cancelled()
        assert len(channel) == 0

    run(main)


def test_a_cancelled_sender_has_not_sent():
    async def main():
        channel = owngil.Channel(1)
        channel.send(0)
        first, second, third = [await waiting(channel.asend(k)) for k in (1, 2, 3)]
        second.cancel()  # this sender still waits
        await asyncio.wait([second])
        assert channel.recv() == 0
        first.cancel()  # its object is in the channel and not received yet
        await asyncio.wait([first])
        assert first.cancelled()
        assert second.cancelled()
        await third
        assert [channel.recv(0), len(channel)] == [3, 0]

    run(main)


def test_a_sender_that_is_cancelled_when_its_object_was_received_is_cancelled():
    async def main():
        channel = owngil.Channel(1)
        channel.send(0)
        task = await waiting(channel.asend(1))
        assert [channel.recv(), channel.recv()] == [0, 1]
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert len(channel) == 0

    run(main)


def test_cancelling_races_with_delivery(interpreter):
    """Whichever comes first, every object arrives exactly once and in order."""
    count = 2000

    def send(channel, count):
        for k in range(count):
            channel.send(k)
        channel.close()

    async def main():
        channel = owngil.Channel(2)
        future = interpreter.submit(send, channel, count)
        received = []
        cancelled = 0
        while True:
            task = asyncio.create_task(channel.arecv())
            for _ in range(cancelled % 4):
                await asyncio.sleep(0)
            task.cancel()
            try:
                received.append(await task)
            except asyncio.CancelledError:
                cancelled += 1
            except owngil.ChannelClosed:
                break
            if cancelled % 7 == 0:
                try:
                    received.append(await channel.arecv())
                except owngil.ChannelClosed:
                    break
        future.result()
        return received

    assert run(main) == list(range(count))


def test_an_object_that_cannot_be_rebuilt_is_received_once():
    class Bad:
        def __reduce__(self):
            return int, ("not a number",)

    async def main():
        channel = owngil.Channel()
        channel.send(Bad())
        channel.send(1)
        with pytest.raises(ValueError, match="not a number"):
            await channel.arecv()
        assert await channel.arecv() == 1

    run(main)


def test_a_channel_connects_loops_of_workers(pool):
    def echo(there, back):
        import asyncio

        async def main():
            async for obj in there:
                await back.asend(obj + 1)

        asyncio.run(main())
        return True

    async def main():
        there, back = owngil.Channel(1), owngil.Channel(1)
        futures = [pool.submit(echo, there, back) for _ in range(2)]
        received = []

        async def receive():
            for _ in range(500):
                received.append(await back.arecv())

        receiver = asyncio.create_task(receive())
        for k in range(500):
            await there.asend(k)
        await receiver
        there.close()
        assert [await asyncio.wrap_future(future) for future in futures] == [True, True]
        return received

    assert sorted(run(main)) == list(range(1, 501))


def test_several_loops_in_one_interpreter():
    there, back = owngil.Channel(2), owngil.Channel(2)

    async def echo():
        async for obj in there:
            await back.asend(obj)

    threads = [threading.Thread(target=run, args=(echo,)) for _ in range(3)]
    for thread in threads:
        thread.start()

    async def main():
        async def send():
            for k in range(300):
                await there.asend(k)
            there.close()

        sender = asyncio.create_task(send())
        received = [await back.arecv() for _ in range(300)]
        await sender
        return received

    assert sorted(run(main)) == list(range(300))
    for thread in threads:
        thread.join()


def test_thousands_of_coroutines_take_one_descriptor():
    async def main():
        channel = owngil.Channel()
        await channel.asend(0)
        await channel.arecv()
        before = count_descriptors()
        tasks = [await waiting(channel.arecv()) for _ in range(3000)]
        during = count_descriptors()
        for k in range(1000):
            tasks[3 * k].cancel()
        await asyncio.sleep(0)
        for k in range(2000):
            channel.send(k)
        received = [task.result() for task in tasks if not (await asyncio.wait([task]) and task.cancelled())]
        return before, during, received

    before, during, received = run(main)
    assert during <= before
    assert received == list(range(2000))


def test_loops_give_their_descriptors_back():
    channel = owngil.Channel()

    async def main():
        task = await waiting(channel.arecv())
        channel.send(1)
        return await task

    run(main)
    before = count_descriptors()
    for _ in range(20):
        run(main)
    assert count_descriptors() <= before


def test_a_loop_that_is_closed_while_coroutines_wait():
    channel, full = owngil.Channel(), owngil.Channel(1)
    full.send(0)
    before = count_descriptors()
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(channel.arecv()) for _ in range(2)] + [loop.create_task(full.asend(1))]
    loop.run_until_complete(asyncio.sleep(0))
    channel.send("served")  # served to one of them, which is not notified
    loop.close()
    # The tasks still exist, but none of them waits any more, and no object is lost.
    assert channel.recv(0) == "served"
    channel.send("next")
    assert channel.recv(0) == "next"
    assert [full.recv(0), len(full)] == [0, 0]
    assert count_descriptors() <= before
    forget(tasks)


def forget(tasks):
    """Drop tasks that are never resumed, without asyncio's warnings about them."""
    for task in tasks:
        task._log_destroy_pending = False
        task.get_coro().close()
    tasks.clear()
    gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning")
def test_a_loop_that_is_forgotten_while_coroutines_wait():
    channel = owngil.Channel()
    before = count_descriptors()

    def leave():
        loop = asyncio.new_event_loop()
        task = loop.create_task(channel.arecv())
        task._log_destroy_pending = False
        loop.run_until_complete(asyncio.sleep(0))

    leave()
    channel.send("served")
    gc.collect()
    assert channel.recv(0) == "served"
    assert count_descriptors() <= before


def test_wait_for_and_timeout_of_asyncio_lose_nothing():
    async def main():
        channel = owngil.Channel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.arecv(), 0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await channel.arecv()
        channel.send(1)
        return await asyncio.wait_for(channel.arecv(), 300)

    assert run(main) == 1


def test_interrupt_reaches_a_loop_in_a_worker():
    started, channel, full = owngil.Channel(), owngil.Channel(), owngil.Channel(1)
    full.send(0)

    def receive(started, channel):
        import asyncio

        async def main():
            asyncio.get_running_loop().call_soon(started.send, None)
            await channel.arecv()

        asyncio.run(main())

    def send(started, channel):
        import asyncio

        async def main():
            asyncio.get_running_loop().call_soon(started.send, None)
            await channel.asend(1)

        asyncio.run(main())

    with owngil.Interpreter() as it:
        for fn, over in ((receive, channel), (send, full)):
            for _ in range(5):
                future = it.submit(fn, started, over)
                started.recv()
                it.interrupt()
                with pytest.raises(KeyboardInterrupt):
                    future.result()
        channel.send("not lost")
        assert channel.recv(0) == "not lost"
        assert [full.recv(0), len(full)] == [0, 0]
        assert it.call(abs, -1) == 1


def test_ctrl_c_ends_the_wait(run_program):
    done = run_program("""
        import asyncio, os, signal
        import owngil

        channel = owngil.Channel()

        async def main():
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
            await channel.arecv()

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        channel.send(1)
        print(channel.recv(0))
    """)
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted\n1\n", "", 0)


def test_coroutines_that_wait_at_exit(ends_cleanly):
    ends_cleanly("""
        import asyncio
        import owngil

        channel = owngil.Channel()

        def wait(channel):
            import asyncio
            global loop, task
            loop = asyncio.new_event_loop()
            task = loop.create_task(channel.arecv())
            task._log_destroy_pending = False
            loop.run_until_complete(asyncio.sleep(0))

        it = owngil.Interpreter()
        it.call(wait, channel)
        wait(channel)
        channel.send(1)
        it.close()
        channel.send(2)
        loop.close()
    """)


def test_workers_do_not_get_mains_signal_handlers(interpreter):
    """CPython would share them with workers: asyncio.run() installs one in main, and asks for it in a worker."""

    def ask():
        import signal

        handlers = {signal.getsignal(number) for number in signal.valid_signals()}
        try:
            signal.getsignal(0)
        except ValueError:
            return handlers
        return None

    async def main():
        return await asyncio.wrap_future(interpreter.submit(ask))

    assert run(main) == {None}
