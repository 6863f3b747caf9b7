import asyncio
import signal
import threading
import time

import numpy as np
import pytest

import owngil


def test_first_in_first_out():
    channel = owngil.Channel()
    for k in range(5):
        channel.send(k)
    assert len(channel) == 5
    assert [channel.recv() for _ in range(5)] == list(range(5))


def test_a_channel_passes_through_workers_and_through_itself(pool):
    channel, back = owngil.Channel(), owngil.Channel()

    def square(channel, back):
        other = channel.recv()
        back.send(other == channel)
        for x in channel:
            back.send(x * x)
        back.close()

    future = pool.submit(square, channel, back)
    channel.send(channel)
    for k in range(10):
        channel.send(k)
    channel.close()
    assert list(back) == [True, *(k * k for k in range(10))]
    future.result()


def test_a_channel_lives_as_long_as_any_copy(pool):
    def make():
        import owngil

        channel = owngil.Channel()
        channel.send("from a worker")
        return channel

    assert pool.submit(make).result().recv(0) == "from a worker"


def test_a_closed_and_empty_channel_has_its_own_exception():
    channel = owngil.Channel()
    channel.send(1)
    channel.close()
    channel.close()
    assert channel.closed
    with pytest.raises(owngil.ChannelClosed):
        channel.send(2)
    assert channel.recv() == 1
    with pytest.raises(owngil.ChannelClosed):
        channel.recv()
    assert list(channel) == []


def test_close_wakes_all_waiters():
    channel, full = owngil.Channel(), owngil.Channel(1)
    full.send(0)
    woken = []

    def wait(method, *args):
        try:
            method(*args)
        except owngil.ChannelClosed:
            woken.append(method.__name__)

    threads = [threading.Thread(target=wait, args=(channel.recv,)) for _ in range(3)]
    threads += [threading.Thread(target=wait, args=(full.send, 1)) for _ in range(3)]
    for thread in threads:
        thread.start()
    channel.close()
    full.close()
    for thread in threads:
        thread.join(300)
    assert sorted(woken) == ["recv"] * 3 + ["send"] * 3
    assert full.recv() == 0


def test_timeouts():
    channel = owngil.Channel(1)
    with pytest.raises(TimeoutError, match="nothing was received"):
        channel.recv(timeout=0)
    with pytest.raises(TimeoutError, match="nothing was received"):
        channel.recv(timeout=0.01)
    channel.send(1)
    with pytest.raises(TimeoutError, match="full"):
        channel.send(2, timeout=0.01)
    assert channel.recv() == 1
    with pytest.raises(TimeoutError):
        channel.recv(0)
    for bad in (-1, float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            channel.recv(bad)
    with pytest.raises(TypeError):
        channel.recv("soon")


def test_bounded_channels_make_senders_wait(pool):
    channel = owngil.Channel(maxsize=2)
    future = pool.submit(lambda channel: [channel.send(k) for k in range(100)] and channel.close(), channel)
    assert list(channel) == list(range(100))
    future.result()
    with pytest.raises(ValueError):
        owngil.Channel(-1)


def test_many_senders_and_receivers_lose_and_double_nothing(pool):
    channel, results = owngil.Channel(3), owngil.Channel()

    def send(first):
        for k in range(first, first + 500):
            channel.send(k)

    def receive(channel, results):
        for x in channel:
            results.send(x)

    senders = [threading.Thread(target=send, args=(500 * k,)) for k in range(4)]
    receivers = [pool.submit(receive, channel, results) for _ in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    channel.close()
    for receiver in receivers:
        receiver.result()
    results.close()
    assert sorted(results) == list(range(2000))


def test_arrays_arrive_read_only():
    channel = owngil.Channel()
    array = np.arange(10.0)
    channel.send({"a": array})
    received = channel.recv()["a"]
    np.testing.assert_array_equal(received, array)
    assert not received.flags.writeable


def test_unpicklable_objects_are_named():
    with pytest.raises(TypeError, match=r"through a channel: an object of type '_thread\.lock'"):
        owngil.Channel().send(threading.Lock())


def test_plain_pickle_is_refused():
    import pickle

    with pytest.raises(TypeError, match="belongs to this process"):
        pickle.dumps(owngil.Channel())


def test_ctrl_c_ends_a_wait(run_program):
    done = run_program("""
        import os, signal, threading
        import owngil

        channel = owngil.Channel()
        main = threading.main_thread().ident
        hits = []
        signal.signal(signal.SIGUSR1, lambda *_: hits.append(1))

        def disturb():
            while len(hits) < 3:  # a handler that returns does not end the wait
                signal.pthread_kill(main, signal.SIGUSR1)
            signal.pthread_kill(main, signal.SIGINT)

        threading.Thread(target=disturb).start()
        try:
            channel.recv()
        except KeyboardInterrupt:
            print("interrupted")
        channel.send(1)
        print(channel.recv())
    """)
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted\n1\n", "", 0)


def test_a_long_chain_of_channels_in_channels_is_freed():
    last = owngil.Channel()
    for _ in range(100_000):
        outer = owngil.Channel()
        outer.send(last)
        last = outer
    del last, outer


def start_waiting(target, *args):
    """Start a thread and return it when it waits in line, which only the kernel knows.

    A thread that waits for the GIL does so with a timeout, so it is not mistaken for one in line.
    (sys._current_frames() would tell where the thread is, but touches the frames of all interpreters.)
    """
    thread = threading.Thread(target=target, args=args)
    thread.start()
    while True:
        with open(f"/proc/self/task/{thread.native_id}/syscall") as file:
            number, *arguments = file.read().split()
        if number in ("98", "202") and arguments[3] == "0x0":  # futex, for ever
            return thread


def test_the_longest_waiter_is_served_first():
    channel, got = owngil.Channel(), []

    def receive(k):
        got.append((k, channel.recv()))

    threads = [start_waiting(receive, k) for k in range(20)]
    for k in range(20):
        channel.send(k)
    for thread in threads:
        thread.join()
    assert sorted(got) == [(k, k) for k in range(20)]


def test_blocked_senders_are_served_in_their_order():
    channel = owngil.Channel(1)
    channel.send(-1)
    threads = [start_waiting(channel.send, k) for k in range(20)]
    assert [channel.recv() for _ in range(21)] == list(range(-1, 20))
    for thread in threads:
        thread.join()


def test_nested_interpreters_use_their_creators_channel(interpreter):
    def outer(channel, back):
        import owngil

        def inner(channel, back):
            for obj in channel:
                back.send(obj * 2)

        with owngil.Interpreter() as it:
            it.call(inner, channel, back)

    channel, back = owngil.Channel(), owngil.Channel(1)
    future = interpreter.submit(outer, channel, back)
    for k in range(100):
        channel.send(k)
    channel.close()
    assert [back.recv() for _ in range(100)] == [2 * k for k in range(100)]
    future.result()


def test_fractional_timeouts_are_kept():
    channel = owngil.Channel()
    for seconds in (0.05, 0.001):
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            channel.recv(seconds)
        assert time.monotonic() - start >= seconds


def test_an_object_that_cannot_be_rebuilt_is_received_once():
    class Bad:
        def __reduce__(self):
            return int, ("not a number",)

    channel = owngil.Channel()
    channel.send(Bad())
    channel.send(1)
    with pytest.raises(ValueError, match="not a number"):
        channel.recv()
    assert channel.recv() == 1


@pytest.mark.parametrize("kind", [GeneratorExit, SystemExit, LookupError])
def test_an_object_that_cannot_be_rebuilt_leaves_the_channel_of_a_worker(kind):
    """Whatever it raises: only what interrupts the worker leaves an object in the channel."""

    def receive(channel):
        try:
            channel.recv()
        except BaseException as error:
            return type(error).__name__, len(channel)

    channel = owngil.Channel()
    channel.send(Raising(kind))
    with owngil.Interpreter() as it:
        assert it.call(receive, channel) == (kind.__name__, 0)


class Raising:
    """An object that raises an exception while its copy is made."""

    def __init__(self, kind):
        self.kind = kind

    def __reduce__(self):
        return _raise, (self.kind,)


def _raise(kind):
    raise kind


_signals_to_come = []


class SignalsOnce:
    """An object that raises a signal while its copy is made."""

    def __reduce__(self):
        return _rebuild_with_signal, ()


def _rebuild_with_signal():
    if _signals_to_come:
        signal.raise_signal(_signals_to_come.pop())
    return "rebuilt"


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
@pytest.mark.parametrize("receive", [owngil.Channel.recv, lambda channel: asyncio.run(channel.arecv())])
def test_a_handler_that_raises_while_an_object_is_rebuilt_leaves_the_object_in_the_channel(receive, error):
    def handle(*_):
        raise error("raised by the handler")

    channel = owngil.Channel()
    channel.send(SignalsOnce())
    channel.send("next")
    former = signal.signal(signal.SIGUSR1, handle)
    try:
        _signals_to_come.append(signal.SIGUSR1)
        with pytest.raises(error, match="raised by the handler"):
            receive(channel)
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert [channel.recv(300), channel.recv(300)] == ["rebuilt", "next"]


def test_an_interrupted_receiver_loses_nothing():
    count = 1000
    channel, ready = owngil.Channel(), owngil.Channel()

    def receive(channel, ready):
        received, is_ready = [], True
        while True:
            try:
                while True:
                    if is_ready:
                        is_ready = False
                        ready.send(None)
                    received.append(channel.recv())
                    if received[-1] is None:
                        return received[:-1]
            except KeyboardInterrupt:
                is_ready = True

    with owngil.Interpreter() as it:
        future = it.submit(receive, channel, ready)
        for k in range(count):
            ready.recv()
            channel.send(k)
            it.interrupt()
        ready.recv()
        channel.send(None)
        assert future.result() == list(range(count))


def test_ctrl_c_loses_nothing(run_program):
    """A signal may arrive before a wait, during it, at its end, while the object is rebuilt, and afterwards."""
    done = run_program("""
        import signal
        import owngil

        count = 3000
        channel = owngil.Channel(1)
        received = [-1]

        def receive():
            while received[-1] is not None:
                received.append(channel.recv())

        def interrupt(_, frame):
            while frame is not None:
                if frame.f_code is receive.__code__:
                    raise KeyboardInterrupt
                frame = frame.f_back

        def send(channel, count):
            for k in range(count):
                channel.send(k)
            channel.send(None)

        with owngil.Interpreter() as it:
            future = it.submit(send, channel, count)
            interrupts = 0
            signal.signal(signal.SIGALRM, interrupt)
            signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
            while received[-1] is not None:
                try:
                    receive()
                except KeyboardInterrupt:
                    interrupts += 1
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            future.result()
            print(received == [-1, *range(count), None], interrupts > 10)
    """)
    assert (done.stdout, done.stderr, done.returncode) == ("True True\n", "", 0)
