import threading

import numpy as np
import pytest

import owngil


def test_first_in_first_out():
    channel = owngil.Channel()
    for k in range(5):
        channel.send(k)
    assert len(channel) == 5
    assert [channel.recv() for _ in range(5)] == list(range(5))


def test_passes_through_workers_and_itself(pool):
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


def test_lives_as_long_as_any_copy(pool):
    def make():
        import owngil

        channel = owngil.Channel()
        channel.send("from a worker")
        return channel

    assert pool.submit(make).result().recv(0) == "from a worker"


def test_closed_and_empty_has_its_own_exception():
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


def test_close_wakes_everybody():
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
        thread.join(30)
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


def test_nothing_is_lost_or_doubled_between_many(pool):
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
