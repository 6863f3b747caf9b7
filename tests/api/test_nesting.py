"""Pools, channels and locks inside workers."""

import operator
import threading

import numpy as np
import pytest

import owngil


def test_pools_in_pools_in_pools(pool):
    def total(depth, numbers):
        import owngil

        if depth == 0:
            return sum(numbers)
        half = len(numbers) // 2
        with owngil.Pool(2) as inner:
            return sum(inner.map(total, [depth - 1] * 2, [numbers[:half], numbers[half:]]))

    futures = [pool.submit(total, 2, list(range(100))) for _ in range(2)]
    assert [future.result() for future in futures] == [4950, 4950]


def test_a_channel_between_main_workers_and_their_workers(pool):
    def middle(there, back):
        import owngil

        def inner(there, back):
            for item in there:
                back.send((item, item * 2))

        with owngil.Pool(2) as own:
            futures = [own.submit(inner, there, back) for _ in range(2)]
            return [future.result() for future in futures]

    there, back = owngil.Channel(), owngil.Channel()
    futures = [pool.submit(middle, there, back) for _ in range(2)]
    for k in range(200):
        there.send(k)
    received = [back.recv(300) for _ in range(200)]
    there.close()
    assert sorted(received) == [(k, k * 2) for k in range(200)]
    assert [future.result() for future in futures] == [[None, None]] * 2


def test_locks_and_counters_across_levels(pool):
    """Each level adds to an array under the lock; without the lock, additions would be lost."""
    lock, array = owngil.Lock(), owngil.zeros(1)

    def add(lock, array, times):
        for _ in range(times):
            with lock:
                array[0] = array[0] + 1

    def middle(lock, array, add):
        import owngil

        with owngil.Pool(2) as own:
            futures = [own.submit(add, lock, array, 200) for _ in range(2)]
            add(lock, array, 200)
            for future in futures:
                future.result()

    futures = [pool.submit(middle, lock, array, add) for _ in range(2)]
    add(lock, array, 200)
    for future in futures:
        future.result()
    assert array[0] == 1400


def test_barriers_and_events_across_levels(interpreter):
    barrier, event = owngil.Barrier(3), owngil.Event()

    def middle(barrier, event):
        import owngil

        def inner(barrier, event):
            event.wait(300)
            return barrier.wait(300)

        with owngil.Interpreter() as own:
            future = own.submit(inner, barrier, event)
            event.set()
            return sorted([barrier.wait(300), future.result()])

    future = interpreter.submit(middle, barrier, event)
    mine = barrier.wait(300)
    assert sorted([mine, *future.result()]) == [0, 1, 2]


def test_arrays_go_down_and_up_without_a_copy(interpreter):
    array = np.arange(200_000.0)
    place = array.__array_interface__["data"][0]

    def middle(array):
        import owngil

        with owngil.Interpreter() as own:
            below = own.call(lambda a: a.__array_interface__["data"][0], array)
            made = own.call(lambda a: a * 2, array)
        return below, made, made.__array_interface__["data"][0]

    below, made, there = interpreter.call(middle, array)
    assert below == place
    assert there == made.__array_interface__["data"][0]
    np.testing.assert_array_equal(made, array * 2)
    made[0] = 5


def test_exceptions_of_nested_workers_keep_their_types(interpreter):
    def middle():
        import owngil

        with owngil.Pool(1, thread_name_prefix="deep") as own:
            own.submit(operator.truediv, 1, 0).result()

    with pytest.raises(ZeroDivisionError) as caught:
        interpreter.call(middle)
    assert "In worker 'deep-0'" in str(caught.value.__cause__)


def test_output_comes_up_to_main(interpreter, capsys):
    def middle():
        import owngil

        with owngil.Interpreter() as own:
            own.exec("print('from below')")

    interpreter.call(middle)
    assert capsys.readouterr().out == "from below\n"


def test_an_interrupt_ends_the_wait_for_a_nested_task():
    started, gate = owngil.Channel(), owngil.Channel()

    def middle(started, gate):
        import owngil

        def inner(started, gate):
            started.send(None)
            gate.recv()

        with owngil.Pool(1) as own:
            own.submit(inner, started, gate).result()

    with owngil.Interpreter() as it:
        for _ in range(3):
            future = it.submit(middle, started, gate)
            started.recv(300)
            it.interrupt()
            with pytest.raises(KeyboardInterrupt):
                future.result(300)
        assert it.call(abs, -1) == 1


def test_workers_of_a_worker_end_with_it():
    done = owngil.Channel()

    def leave_open(done):
        import owngil

        global kept
        kept = owngil.Pool(2)
        kept.submit(abs, 1).result()
        kept.submit(done.send, "finished")
        return owngil.run(abs, -5)

    before = threading.active_count()
    with owngil.Interpreter() as it:
        assert it.call(leave_open, done) == 5
    assert done.recv(300) == "finished"
    assert threading.active_count() <= before


def test_recycled_workers_with_pools():
    def nested(k):
        import owngil

        with owngil.Pool(1, max_tasks_per_child=1) as own:
            return list(own.map(operator.neg, range(k), chunksize=1))

    with owngil.Pool(2, max_tasks_per_child=1) as pool:
        assert list(pool.map(nested, range(4), chunksize=1)) == [[-j for j in range(k)] for k in range(4)]


def test_state_of_workers_in_workers(interpreter):
    def middle():
        import owngil

        def prepare(word):
            import builtins

            builtins.word = word

        with owngil.Pool(2, preload=["colorsys"], initializer=prepare, initargs=("deep",)) as own:
            return own.broadcast(lambda: (word, "colorsys" in __import__("sys").modules))  # noqa: F821

    assert interpreter.call(middle) == [("deep", True)] * 2


def test_a_nested_pool_that_breaks(interpreter):
    def middle():
        import owngil

        def refuse():
            raise OSError("no licence")

        try:
            with owngil.Pool(1, initializer=refuse) as own:
                own.submit(abs, 1).result()
        except owngil.BrokenPoolError as error:
            return "no licence" in str(error)

    assert interpreter.call(middle)
