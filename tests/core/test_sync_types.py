"""The core of locks, semaphores, events, counters and barriers by itself."""

import threading

import pytest

from owngil import _core

MAKERS = [
    _core.Lock,
    _core.Semaphore,
    _core.BoundedSemaphore,
    _core.Event,
    lambda: _core.Barrier(1),
    _core.Counter,
]


@pytest.mark.parametrize("make", MAKERS)
def test_messages_carry_objects_with_type_and_identity(make):
    queue, thing = _core.Queue(), make()
    queue.put(0, 0, (thing, _core.Block(b"x"), thing))
    _, _, (first, _, second) = queue.get()
    assert type(first) is type(thing)
    assert first == second == thing
    assert hash(first) == hash(thing)
    assert first != make()


def test_a_message_keeps_its_objects_alive():
    queue = _core.Queue()
    queue.put(0, 0, (_core.Counter(7), _core.Semaphore(3)))
    _, _, (counter, semaphore) = queue.get()
    assert counter.value == 7
    assert [semaphore.acquire(False) for _ in range(4)] == [True, True, True, False]


def test_barriers_call_the_action_of_the_last_to_arrive():
    barrier = _core.Barrier(2)
    calls = []
    threads = [
        threading.Thread(target=lambda k=k: calls.append(barrier.wait(60, lambda: calls.append(f"action {k}"))))
        for k in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 3
    assert str(calls[0]).startswith("action")
    assert sorted(calls[1:]) == [0, 1]


def test_bad_arguments():
    with pytest.raises(ValueError, match="parties must be 1 or more, not 0"):
        _core.Barrier(0)
    with pytest.raises(TypeError):
        _core.Barrier()
    barrier = _core.Barrier(1)
    with pytest.raises(TypeError, match=r"wait\(\) takes at most 2 arguments \(3 given\)"):
        barrier.wait(1, None, 2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'act'"):
        barrier.wait(act=None)
    with pytest.raises(TypeError, match="multiple values for argument 'timeout'"):
        barrier.wait(1, timeout=1)
    with pytest.raises(ValueError, match="timeout"):
        barrier.wait(float("nan"))
    with pytest.raises(TypeError, match="not callable"):
        barrier.wait(None, 5)
    assert barrier.broken


@pytest.mark.parametrize("kind", [_core.Lock, _core.Semaphore, _core.BoundedSemaphore, _core.Event, _core.Counter])
def test_the_public_classes_cannot_be_subclassed(kind):
    with pytest.raises(TypeError):
        type("Mine", (kind,), {})
