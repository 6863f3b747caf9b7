"""bytes, bytearray, str and array.array of any size arrive unchanged, alone and in containers."""

import array
import pickle
import random
import sys
import threading

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import owngil
from owngil import _wire
from owngil._wire.chunks import LARGE

QUIET = hypothesis.settings(deadline=None, suppress_health_check=list(hypothesis.HealthCheck))

# Sizes around pickle's frame size, around the size from which on owngil does not copy, and beyond.
SIZES = [0, 1, 3, 255, 256, 65_530, 65_535, 65_536, 65_540, LARGE - 10, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE]


@pytest.fixture(scope="module")
def it():
    with owngil.Interpreter() as it:
        yield it


def fill(kind, size):
    """Return an object of this kind and size, without two equal parts."""
    data = random.Random(size).randbytes(size)
    if kind is str:
        return data.decode("latin-1")  # half of the characters are not ASCII
    if kind is ascii:
        return "".join(map(chr, (byte & 127 for byte in data)))
    return array.array("q", data[: size // 8 * 8]) if kind is array.array else kind(data)


KINDS = [bytes, bytearray, str, ascii, array.array]
leaves = st.builds(fill, st.sampled_from(KINDS), st.sampled_from(SIZES)) | st.builds(
    np.arange, st.sampled_from([0, 1, 100_000])
)
things = st.recursive(
    leaves | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    | st.tuples(inner, inner),
    max_leaves=8,
)  # fmt: skip


def same(one, two):
    if type(one) is not type(two):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return list(one) == list(two) and all(map(same, one.values(), two.values()))
    return np.array_equal(one, two) if isinstance(one, np.ndarray) else one == two


@hypothesis.settings(QUIET, max_examples=150)
@given(thing=things)
def test_objects_survive_the_wire(thing):
    assert same(_wire.loads(_wire.dumps(thing, "it")), thing)


@hypothesis.settings(QUIET, max_examples=30)
@given(thing=things)
def test_an_object_travels_there_and_back(it, thing):
    assert same(it.call(lambda thing: [thing], thing), [thing])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [LARGE - 1, LARGE, 5_000_000])
def test_both_ways_and_through_channels(it, kind, size):
    thing = fill(kind, size)
    assert same(it.call(fill, kind, size), thing)
    assert same(it.call(dict.copy, {"k": [thing]}), {"k": [thing]})
    channel = owngil.Channel()
    channel.send(thing)
    assert same(channel.recv(), thing)
    it.exec("channel.send([thing])", channel=channel, thing=thing)
    assert same(channel.recv(), [thing])


def test_the_receiver_owns_the_object_that_arrives(it):
    data, numbers = bytearray(LARGE), array.array("b", bytes(LARGE))

    def change(data, numbers):
        data[0] = numbers[0] = 1
        data += b"more"
        numbers.append(3)
        return data, numbers

    back = it.call(change, data, numbers)
    assert (len(data), data[0], len(numbers), numbers[0]) == (LARGE, 0, LARGE, 0)
    for thing in back:
        assert thing[0] == 1
        thing.append(1)


def test_references_to_one_object_arrive_as_references_to_one(it):
    data = fill(bytearray, LARGE)
    assert it.call(lambda x: x[0] is x[1]["k"], [data, {"k": data}])
    one, two = it.call(lambda: 2 * [bytearray(5 * LARGE)])
    assert one is two


def test_lone_surrogates_and_wide_characters(it):
    text = "\udc80é\U0001f600" * LARGE
    assert it.call(lambda text: text, text) == text


def test_with_handles_and_buffers_between(it):
    channel = owngil.Channel()
    shared = owngil.zeros(1000)
    thing = [
        b"a" * LARGE,
        channel,
        shared,
        np.arange(1000),
        b"b" * LARGE,
        channel,
        memoryview(b"c" * LARGE),
        "d" * LARGE,
    ]

    def check(a, channel, shared, numbers, b, again, c, d):
        shared[:] = numbers
        channel.send(b)
        return a, again == channel, bytes(c), d

    assert it.call(check, *thing) == (thing[0], True, bytes(thing[6]), thing[7])
    assert channel.recv() == thing[4]
    assert shared.sum() == 499_500


def test_many_chunks_and_a_long_pickle_between(it):
    thing = [[fill(bytes, LARGE + k), list(range(100_000)), str(k)] for k in range(30)]
    assert same(it.call(list, thing), thing)


class Strange(bytes):
    """A subclass, which is pickled with its type."""


def test_subclasses(it):
    thing = Strange(b"x" * LARGE)
    back = it.call(lambda x: x, thing)
    assert (type(back), back) == (Strange, thing)


class Meddler:
    """An object that changes an already pickled one while it is pickled itself."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        self.victim.append(1)
        return int, ()


def test_a_bytearray_cannot_be_resized_while_it_is_pickled(it):
    data = bytearray(LARGE)
    with pytest.raises(pickle.PicklingError, match="re-sized") as caught:
        it.call(len, [data, Meddler(data)])
    data.append(1)  # afterwards it can be resized, even while the exception is kept
    del caught


@pytest.mark.parametrize("make", [bytearray, lambda size: array.array("b", bytes(size))])
def test_a_lent_object_cannot_be_resized_until_the_task_is_done(it, make):
    data = make(LARGE)
    begun, go = owngil.Channel(), owngil.Channel()

    def work(data, begun, go):
        begun.send(None)
        go.recv()
        return len(data)

    future = it.submit(work, data, begun, go)
    begun.recv()
    with pytest.raises(BufferError):
        data.extend(b"1")
    go.send(None)
    assert future.result() == LARGE
    assert it.call(int) == 0  # by now the worker has released the previous task
    data.extend(b"1")


def test_small_objects_are_copied_when_they_are_sent(it):
    data = bytearray(LARGE - 1)
    channel = owngil.Channel()
    channel.send([data])
    data.append(1)
    assert len(channel.recv()[0]) == LARGE - 1


def test_many_threads(it):
    failures = []

    def work(seed):
        thing = [fill(bytes, LARGE + seed), fill(bytearray, 2 * LARGE + seed)]
        for _ in range(20):
            if not same(it.call(lambda thing: [*thing, thing[0][:LARGE]], thing)[:2], thing):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_large_result_needs_no_cloudpickle(ends_cleanly):
    ends_cleanly(f"""
        import owngil
        with owngil.Pool(1) as pool:
            assert len(pool.submit(bytes, {LARGE}).result()) == {LARGE}
            assert not pool.submit(eval, "'cloudpickle' in __import__('sys').modules").result()
    """)


def test_references_are_returned():
    data = bytes(LARGE)
    before = sys.getrefcount(data)
    parts = _wire.dumps([data], "it")
    assert sys.getrefcount(data) > before  # lent
    assert _wire.loads(parts)[0] is not data
    del parts
    assert sys.getrefcount(data) == before
