import gc
import threading

import numpy as np
import pytest

import owngil


class Model:
    """An object that each worker makes once; `marks` counts how often."""

    def __init__(self, marks, offset=0):
        marks.add()
        self.offset = offset


def test_each_worker_makes_one_object(pool):
    made = owngil.Counter()
    model = owngil.worker_local(Model, made, offset=5)

    def use(barrier):
        barrier.wait(300)
        return id(model()) == id(model()), model().offset

    barrier = owngil.Barrier(2)
    for _ in range(3):
        futures = [pool.submit(use, barrier) for _ in range(2)]
        assert [future.result() for future in futures] == [(True, 5)] * 2
    assert made.value == 2


def test_as_an_argument_in_a_closure_and_again_and_again(interpreter):
    made = owngil.Counter()
    model = owngil.worker_local(Model, made)
    first = interpreter.call(lambda m: id(m()), model)
    assert all(interpreter.call(lambda: id(model())) == first for _ in range(5))
    assert interpreter.call(lambda held: [id(m()) for m in held["models"]], {"models": [model, model]}) == [first] * 2
    assert made.value == 1


def test_two_worker_locals_are_independent(interpreter):
    a = owngil.worker_local(list)
    b = owngil.worker_local(list)
    interpreter.call(lambda: (a().append(1), b().append(2)))
    assert interpreter.call(lambda: (a(), b(), a() is b())) == ([1], [2], False)


def test_in_the_main_interpreter():
    made = owngil.Counter()
    model = owngil.worker_local(Model, made)
    assert model() is model()
    assert made.value == 1


def test_in_initializer_map_and_broadcast():
    made = owngil.Counter()
    model = owngil.worker_local(Model, made, 3)

    def prepare():
        model()

    with owngil.Pool(2, initializer=prepare) as pool:
        assert pool.broadcast(lambda: model().offset) == [3, 3]
        assert made.value == 2
        assert list(pool.map(lambda k: model().offset + k, range(100))) == [3 + k for k in range(100)]
        assert made.value == 2


def test_each_worker_of_nested_pools_makes_its_own(interpreter):
    made = owngil.Counter()
    model = owngil.worker_local(Model, made)

    def nested():
        import owngil

        model()
        with owngil.Pool(1) as inner:
            return [inner.submit(lambda: id(model())).result() for _ in range(3)]

    ids = interpreter.call(nested)
    assert len(set(ids)) == 1
    assert made.value == 2


def test_arrays_of_the_arguments_are_not_copied(interpreter):
    table = np.arange(100_000.0)
    local = owngil.worker_local(lambda table, lock: (table, lock), table, owngil.Lock())
    place = table.__array_interface__["data"][0]

    def look():
        table, lock = local()
        with lock:
            return table.__array_interface__["data"][0], table.flags.writeable, float(table[-1])

    assert interpreter.call(look) == (place, False, 99_999.0)

    def nested():
        import owngil

        with owngil.Interpreter() as it:
            return it.call(look)

    assert interpreter.call(nested) == (place, False, 99_999.0)


def test_shared_arrays_of_the_arguments_stay_shared(interpreter):
    shared = owngil.zeros(10)
    local = owngil.worker_local(lambda array: array, shared)

    def write():
        local()[3] = 7

    interpreter.call(write)
    assert shared[3] == 7


def test_exceptions_are_raised_at_each_use(interpreter):
    tries = owngil.Counter()

    def make():
        if tries.add() < 3:
            raise OSError("not yet")
        return "there"

    local = owngil.worker_local(make)
    for _ in range(2):
        with pytest.raises(OSError, match="not yet"):
            interpreter.call(lambda: local())
    assert interpreter.call(lambda: local()) == "there"
    assert interpreter.call(lambda: local()) == "there"
    assert tries.value == 3


def test_threads_of_a_worker_share_one(interpreter):
    made = owngil.Counter()

    def make():
        import time

        made.add()
        time.sleep(0.01)  # other threads may come meanwhile or not: both cases must work
        return object()

    local = owngil.worker_local(make)

    def use():
        import threading

        start = threading.Barrier(8)
        seen = []

        def look():
            start.wait()
            seen.append(id(local()))

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(seen), len(set(seen))

    assert interpreter.call(use) == (8, 1)
    assert made.value == 1


def test_objects_end_with_their_worker():
    ended = owngil.Channel()

    class Held:
        def __init__(self, ended):
            self.ended = ended

        def __del__(self):
            import math  # modules must still be whole

            self.ended.send(math.sqrt(4))

    held = owngil.worker_local(Held, ended)
    with owngil.Pool(1) as pool:
        pool.submit(lambda: held() and None).result()
        gc.collect()
        assert len(ended) == 0
    assert ended.recv(0) == 2.0


def test_recycled_workers_make_their_own():
    made = owngil.Counter()
    model = owngil.worker_local(Model, made)
    with owngil.Pool(1, max_tasks_per_child=2) as pool:
        for _ in range(6):
            pool.submit(lambda: model() and None).result()
    assert made.value == 3


def test_an_argument_that_cannot_be_sent_is_named(interpreter):
    local = owngil.worker_local(lambda lock: lock, threading.Lock())
    assert local()  # the worker_local works in this interpreter
    with pytest.raises(TypeError, match="lock"):
        interpreter.call(lambda: local())
    with pytest.raises(TypeError, match="make must be callable, not int"):
        owngil.worker_local(5)


def test_a_worker_local_that_needs_itself_cannot_be_sent(interpreter):
    local = owngil.worker_local(lambda: local())
    with pytest.raises(TypeError, match="refers to that worker_local itself"):
        interpreter.call(lambda: local())
    one = owngil.worker_local(lambda: other())
    other = owngil.worker_local(lambda: one())
    with pytest.raises(TypeError, match="refers to that worker_local itself"):
        interpreter.call(lambda: one())
    assert interpreter.call(abs, -1) == 1


def test_the_repr(interpreter):
    local = owngil.worker_local(int)
    assert repr(local) == "<owngil.worker_local: not made here>"
    local()
    assert repr(local) == "<owngil.worker_local: made here>"
    assert interpreter.call(repr, local) == "<owngil.worker_local: not made here>"
