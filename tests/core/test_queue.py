"""The core's queue by itself."""

import threading

import pytest

from owngil import _core


def test_messages_keep_kind_id_and_parts():
    queue = _core.Queue()
    inner = _core.Queue()
    message = queue.put(3, 2**63, (_core.Block(b"abc"), inner))
    assert not message.taken
    kind, number, (block, other) = queue.get()
    assert (kind, number, bytes(block), len(block)) == (3, 2**63, b"abc", 3)
    assert other == inner
    assert hash(other) == hash(inner)
    assert message.taken


def test_blocks_are_writable_only_on_request():
    queue = _core.Queue()
    for writable in (False, True):
        queue.put(0, 0, (b"what a message begins with is small: bytes", _core.Block(b"abc")))
        _, _, (_, block) = queue.get(None, writable)
        assert memoryview(block).readonly is not writable


def test_blocks_are_aligned_for_numpy():
    import numpy as np

    for size in (1, 63, 64, 100_000):
        assert np.frombuffer(_core.Block(b"x" * size), "u1").ctypes.data % 64 == 0


def test_a_message_is_cancelled_or_taken_never_both():
    queue = _core.Queue()
    first, second = queue.put(0, 1, ()), queue.put(0, 2, ())
    assert first.cancel()
    assert not first.cancel()
    assert queue.get()[1] == 2
    assert not second.cancel()
    assert not first.taken
    assert second.taken


def test_cancelling_races_with_taking():
    for _ in range(300):
        queue = _core.Queue()
        messages = [queue.put(0, k, ()) for k in range(20)]
        taken = []

        def take(queue=queue, taken=taken):
            try:
                while True:
                    taken.append(queue.get()[1])
            except _core.QueueClosed:
                pass

        thread = threading.Thread(target=take)
        thread.start()
        cancelled = [k for k, message in enumerate(messages) if message.cancel()]
        queue.close()
        thread.join()
        assert sorted(taken + cancelled) == list(range(20))


def test_bad_arguments():
    queue = _core.Queue()
    with pytest.raises(TypeError, match="Block, bytes or a handle, not str"):
        queue.put(0, 0, ("abc",))
    with pytest.raises(TypeError, match="tuple"):
        queue.put(0, 0, [])
    with pytest.raises(ValueError):
        _core.Queue(-1)
    with pytest.raises(TypeError):
        _core.Block("text")
    with pytest.raises(TypeError):
        _core.Message()
    with pytest.raises(TypeError):
        _core.Worker()
    for function in (_core.worker_setup, _core.before_end):
        with pytest.raises(RuntimeError, match="not a worker's own"):
            function()


def test_waiting_receivers_get_one_message_each():
    queue = _core.Queue()
    order = []
    ready = [threading.Event() for _ in range(3)]

    def receive(k):
        ready[k].set()
        order.append((k, queue.get()[1]))

    threads = [threading.Thread(target=receive, args=(k,)) for k in range(3)]
    for k, thread in enumerate(threads):
        thread.start()
        ready[k].wait()
    for k in range(3):
        queue.put(0, k, ())
    for thread in threads:
        thread.join()
    assert sorted(number for _, number in order) == [0, 1, 2]


def test_transfers_wait_in_line_and_can_be_undone():
    queue, wakeup = _core.Queue(2), _core.Wakeup()
    receivers = [queue.begin_receive(wakeup, k) for k in range(3)]
    assert wakeup.take() == []
    assert not receivers[0].check()
    assert receivers[1].withdraw()
    for k in range(2):
        queue.put(0, k, (_core.Block(b"%d" % k),))
    assert wakeup.take() == [0, 2]
    assert [bytes(receivers[k].parts[0]) for k in (0, 2)] == [b"0", b"1"]
    assert not receivers[0].withdraw()  # it has taken its message
    assert receivers[2].undo()
    assert not receivers[2].undo()
    assert len(queue) == 1
    assert receivers[0].undo()  # its message returns to the head of the line
    assert [queue.get(0)[1] for _ in range(2)] == [0, 1]


def test_a_transfer_is_undone_at_its_end_unless_it_was_confirmed():
    queue, wakeup = _core.Queue(1), _core.Wakeup()
    for k in range(2):
        queue.begin_send(wakeup, k, (_core.Block(b"%d" % k),)).confirmed = True
        with pytest.raises(TimeoutError):
            queue.put(0, 0, (), 0)
        queue.receive()  # the message went back at once
        received = queue.receive()
        assert bytes(received.parts[0]) == b"%d" % k
        received.confirmed = True
        with pytest.raises(AttributeError):
            received.parts  # noqa: B018 - raises
        del received
        assert len(queue) == 0
    queue.begin_send(wakeup, 2, ())
    assert len(queue) == 0


def test_only_a_finished_transfer_can_be_confirmed():
    queue, wakeup = _core.Queue(), _core.Wakeup()
    transfer = queue.begin_receive(wakeup, 0)
    for value in (True, False, 1):
        with pytest.raises(ValueError, match="only a transfer that is done"):
            transfer.confirmed = value
    with pytest.raises(AttributeError):
        transfer.parts  # noqa: B018 - raises
    with pytest.raises(TypeError):
        queue.begin_receive(queue, 0)
    with pytest.raises(TypeError):
        queue.begin_send(wakeup, 0, [])
    queue.close()
    with pytest.raises(_core.QueueClosed):
        transfer.check()


def test_wakeups_that_are_freed_are_not_notified():
    queue = _core.Queue()
    transfer = queue.begin_receive(_core.Wakeup(), 0)
    queue.put(0, 1, ())
    assert transfer.check()
    other = queue.begin_receive(_core.Wakeup(), 0)
    del transfer  # its message goes to the other one
    assert other.check()
    del other
    assert queue.get(0)[1] == 1


def test_begun_transfers_race_with_threads():
    queue, wakeup = _core.Queue(2), _core.Wakeup()
    got, count = [], 3000

    def receive():
        try:
            while True:
                got.append(queue.get()[1])
        except _core.QueueClosed:
            pass

    def send():
        for k in range(count):
            queue.put(0, k, ())

    threads = [threading.Thread(target=receive) for _ in range(2)]
    senders = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads + senders:
        thread.start()
    while any(sender.is_alive() for sender in senders):
        transfers = [queue.begin_receive(wakeup, k) for k in range(3)]
        transfers[1].undo()
        wakeup.take()
        transfers[0].withdraw()
        del transfers
    queue.close()
    for thread in threads:
        thread.join()
    while len(queue):
        got.append(queue.get()[1])
    assert sorted(got) == sorted([*range(count), *range(count)])


@pytest.mark.parametrize("last_first", [False, True])
def test_receivers_are_served_in_the_queues_order(last_first):
    queue, wakeup = _core.Queue(0, last_first), _core.Wakeup()
    receivers = [queue.begin_receive(wakeup, k) for k in range(3)]
    for _ in receivers:
        queue.put(0, 0, ())
    assert wakeup.take() == ([2, 1, 0] if last_first else [0, 1, 2])
    for receiver in receivers:
        receiver.confirmed = True
