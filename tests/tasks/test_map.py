"""Pool.map: sizes of chunks, submitting ahead, order, errors and the end."""

import os
import threading
import weakref
from concurrent.futures import CancelledError
from itertools import count

import numpy as np
import pytest

import owngil
from owngil._tasks import map as map_module


def _tasks(pool):
    """Return how many tasks the pool has had, by their numbers."""
    return next(pool._dispatcher._task_ids)


def test_tiny_calls_share_tasks(pool):
    before = _tasks(pool)
    assert sum(pool.map(abs, range(100_000))) == sum(range(100_000))
    assert _tasks(pool) - before < 5000


def test_long_calls_are_tasks_of_their_own(pool, monkeypatch):
    monkeypatch.setattr(map_module, "_CHUNK_SECONDS", 0)  # with this limit, every call is long
    before = _tasks(pool)
    assert list(pool.map(abs, range(100))) == list(range(100))
    assert _tasks(pool) - before == 101


@pytest.mark.parametrize(
    ("now", "seconds", "calls", "then"),
    [
        (1, 0.1, 1, 1),  # long calls
        (1, 0.0005, 1, 10),
        (1, 0.0, 1, 16),  # one call is too small a sample
        (256, 0.00001, 1, 256),  # a result of an old chunk
        (16, 0.0001, 10, 160),
        (160, 0.0001, 100, 1600),
        (500, 0.05, 500, 50),  # calls take longer now
    ],
)
def test_chunks_grow_and_shrink_with_the_time_that_calls_take(now, seconds, calls, then):
    assert map_module.size_after(now, seconds, calls) == pytest.approx(then, abs=1)


@pytest.mark.parametrize("ordered", [True, False])
def test_an_endless_generator_is_not_read_ahead_for_ever(pool, ordered, monkeypatch):
    monkeypatch.setattr(map_module, "_CHUNK_SECONDS", 0)  # chunks of one
    taken = []

    def items():
        for k in count():
            taken.append(k)
            yield k

    results = pool.map(lambda x: x, items(), ordered=ordered)
    assert len(taken) == 6
    first = [next(results) for _ in range(500)]
    assert len(taken) == 506
    results.close()
    if ordered:
        assert first == list(range(500))
    read = len(taken)
    assert pool.submit(abs, 1).result() == 1
    assert len(taken) == read


def test_calls_are_made_before_results_are_read():
    channel = owngil.Channel()
    with owngil.Pool(2) as pool:
        pool.map(channel.send, range(500))
    channel.close()
    assert sorted(channel) == list(range(500))


def test_results_can_be_read_when_the_pool_is_closed():
    with owngil.Pool(2) as pool:
        results = pool.map(abs, range(2000))
        unordered = pool.map(abs, range(2000), ordered=False)
    assert list(results) == list(range(2000))
    assert sorted(unordered) == list(range(2000))


def test_a_generator_that_was_not_read_in_time_says_so():
    with owngil.Pool(2) as pool:
        results = pool.map(abs, (k for k in range(100)))
    with pytest.raises(RuntimeError, match="closed"):
        list(results)


@pytest.mark.parametrize("ordered", [True, False])
def test_results_before_an_error_are_returned(ordered):
    with owngil.Pool(1) as pool:
        results = pool.map(lambda x: 10 // x, [5, 2, 0, 1], chunksize=4, ordered=ordered)
        assert [next(results), next(results)] == [2, 5]
        with pytest.raises(ZeroDivisionError) as caught:
            next(results)
        assert "10 // x" in str(caught.value.__cause__)
        with pytest.raises(StopIteration):
            next(results)


@pytest.mark.parametrize("ordered", [True, False])
def test_items_that_cannot_be_pickled_fail_when_they_are_reached(pool, ordered):
    items = [*range(500), threading.Lock()]
    seen = []
    with pytest.raises(TypeError, match="lock"):
        for value in pool.map(lambda x: x, items, ordered=ordered):
            seen.append(value)
    assert sorted(set(seen)) == sorted(seen)
    assert not ordered or (seen == list(range(len(seen))) and len(seen) > 6)
    assert not pool._dispatcher._sources


def test_errors_of_the_iterable_arrive(pool):
    def items(number):
        yield from range(number)
        raise LookupError("no more")

    with pytest.raises(LookupError):
        pool.map(abs, items(3))
    seen = []
    with pytest.raises(LookupError):
        seen.extend(pool.map(abs, items(1000)))
    assert seen == list(range(1000))
    assert not pool._dispatcher._sources


def test_map_over_several_columns(pool):
    assert list(pool.map(pow, [2, 3, 4], (1, 2, 3, 4), range(100, 90, -1))) == [2, 9, 64]
    assert list(pool.map(pow, iter([2, 3, 4]), [1, 2])) == [2, 9]
    assert list(pool.map(lambda a, b: a + b, "abc", {"d": 1, "e": 2})) == ["ad", "be"]
    assert list(pool.map(abs, [])) == []


def test_arrays_are_cut_and_not_copied(pool):
    array = np.arange(3000.0).reshape(1000, 3)
    rows = list(pool.map(lambda row: (row.sum(), row.flags.writeable), array, chunksize=100))
    np.testing.assert_array_equal([total for total, _ in rows], array.sum(axis=1))
    assert not any(writable for _, writable in rows)


def test_lists_may_change_meanwhile(pool):
    items = list(range(1000))
    results = pool.map(abs, items)
    items.clear()
    assert list(results) == list(range(1000))


def test_cancelling_a_pool_ends_its_maps():
    gate = owngil.Channel()
    pool = owngil.Pool(1)
    results = pool.map(lambda k, gate: gate.recv(), range(1000), [gate] * 1000)
    pool.shutdown(wait=False, cancel_futures=True)
    gate.close()
    pool.shutdown()
    with pytest.raises((owngil.ChannelClosed, CancelledError)):
        list(results)


def test_maps_of_several_threads(pool):
    results = {}

    def run(k):
        results[k] = list(pool.map(lambda x, k=k: x * k, range(300)))

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {k: [x * k for x in range(300)] for k in range(4)}


@pytest.mark.parametrize("ordered", [True, False])
def test_an_item_that_cannot_be_pickled_does_not_keep_a_pool_open(ordered):
    gate = owngil.Channel()
    pool = owngil.Pool(1)
    items = [gate, *[1] * 499, threading.Lock(), *[1] * 500]
    results = pool.map(lambda item: item.recv() if item != 1 else item, items, ordered=ordered)
    pool.shutdown(wait=False)
    gate.send(1)
    pool.shutdown()
    seen = []
    with pytest.raises(TypeError, match="lock"):
        for value in results:
            seen.append(value)
    assert len(seen) < 500


def test_a_map_that_was_cancelled_before_all_was_submitted_does_not_seem_complete():
    in_callback, go_on = threading.Event(), threading.Event()

    def hold_up(future):  # the thread that submits the rest
        in_callback.set()
        go_on.wait()

    gate = owngil.Channel()
    pool = owngil.Pool(1)
    pool.submit(gate.recv).add_done_callback(hold_up)
    results = pool.map(abs, range(100))
    last = list(pool._dispatcher._pending.values())[-1]
    gate.send(None)
    in_callback.wait()
    while not last.has_answer():
        os.sched_yield()
    pool.shutdown(wait=False, cancel_futures=True)
    go_on.set()
    with pytest.raises(CancelledError):
        list(results)
    pool.shutdown()


@pytest.mark.parametrize("ordered", [True, False])
def test_a_callback_may_read_a_map(ends_cleanly, ordered):
    out = ends_cleanly(
        f"""
        import owngil
        from concurrent.futures import Future

        with owngil.Pool(1) as pool:
            results = Future()
            def callback(future):
                results.set_result(sorted(pool.map(abs, range(50), ordered={ordered})))
            pool.submit(abs, -1).add_done_callback(callback)
            print(results.result() == list(range(50)))
        """
    )
    assert out == "True\n"


def test_a_signal_handler_may_close_the_pool_while_another_thread_submits(ends_cleanly):
    out = ends_cleanly(
        """
        import signal, threading
        import owngil

        pool = owngil.Pool(1)
        submitting, go_on = threading.Event(), threading.Event()

        class Item:
            def __init__(self, k):
                self.k = k

            def __reduce__(self):
                if threading.current_thread() is not threading.main_thread():
                    submitting.set()
                    go_on.wait()
                return abs, (self.k,)

        def handler(*_):
            go_on.set()
            pool.shutdown(wait=False)

        signal.signal(signal.SIGUSR1, handler)
        results = pool.map(abs, [Item(k) for k in range(100)])
        submitting.wait()
        with pool._dispatcher.lock:  # as within submit()
            signal.raise_signal(signal.SIGUSR1)
        print(list(results) == list(range(100)))
        """
    )
    assert out == "True\n"


@pytest.mark.parametrize("wait", [True, False])
def test_a_signal_handler_may_close_the_pool_that_its_thread_submits_to(ends_cleanly, wait):
    out = ends_cleanly(
        f"""
        import signal, threading
        import owngil

        class Item:
            def __init__(self, k, where):
                self.k, self.where = k, where

            def __reduce__(self):
                if self.k == self.where and threading.current_thread() is threading.main_thread():
                    signal.raise_signal(signal.SIGUSR1)
                return abs, (self.k,)

        for where in (0, 3, 50, 99):
            pool = owngil.Pool(1)
            signal.signal(signal.SIGUSR1, lambda *_: pool.shutdown(wait={wait}))
            seen = []
            try:
                for value in pool.map(abs, [Item(k, where) for k in range(100)]):
                    seen.append(value)
            except RuntimeError as error:
                print("closed" in str(error), end=" ")
            else:
                print(len(seen) == 100, end=" ")
            print(seen == list(range(len(seen))))
            pool.shutdown()
        """
    )
    assert out == "True True\n" * 4


@pytest.mark.parametrize("chunksize", [1, 4])
def test_stop_iteration_of_a_call_is_an_error_and_not_the_end(pool, chunksize):
    def call(item):
        if item == 1:
            raise StopIteration
        return item

    results = pool.map(call, range(8), chunksize=chunksize)
    assert next(results) == 0
    with pytest.raises(RuntimeError, match="StopIteration"):  # as a generator does
        next(results)


def test_errors_of_pickling_name_the_function_that_is_mapped(pool):
    with pytest.raises(TypeError, match=r"^abs\(\) cannot be sent to a worker"):
        list(pool.map(abs, [threading.Lock()]))
    with pytest.raises(TypeError, match=r"^the result of .*<lambda>\(\) cannot be sent back"):
        list(pool.map(lambda _: __import__("threading").Lock(), range(2)))


class Thing:
    pass


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("chunksize", [1, 4, None])
def test_no_reference_to_a_result_that_was_given_out(chunksize, ordered):
    with owngil.Pool(2) as pool:
        for thing in pool.map(lambda _: Thing(), range(10), chunksize=chunksize, ordered=ordered):
            alive = weakref.ref(thing)
            del thing
            assert alive() is None
