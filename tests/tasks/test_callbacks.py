"""Callbacks that wait for other tasks, although their own thread is the one that collects answers."""

import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from functools import partial

import pytest

import owngil
from owngil._caller.notebooks import Collector


def by_result(pool, future):
    return future.result()


def by_result_in_time(pool, future):
    return future.result(300)


def by_exception(pool, future):
    assert future.exception() is None
    return future.result()


def by_wait(pool, future):
    assert wait([future], return_when=FIRST_COMPLETED).done == {future}
    return future.result()


def by_as_completed(pool, future):
    return sum(done.result() for done in as_completed([future]))


def by_track(pool, future):
    return sum(done.result() for done in owngil.track([future], lambda done, total: None))


def by_track_in_order(pool, future):
    return sum(done.result() for done in owngil.track([future], progress=False, ordered=True))


def by_broadcast(pool, future):
    (value,) = pool.broadcast(abs, -1)
    assert value == 1
    return future.result()


def by_map(pool, future):
    assert list(pool.map(abs, [-1, -2], chunksize=1)) == [1, 2]
    return future.result()


def by_a_view_of_the_pool(pool, future):
    with pool.with_timeout(60) as limited:
        limited.submit(abs, -1)
    return future.result()


WAYS = [
    by_result,
    by_result_in_time,
    by_exception,
    by_wait,
    by_as_completed,
    by_track,
    by_track_in_order,
    by_broadcast,
    by_map,
    by_a_view_of_the_pool,
]


def collectors():
    return {thread for thread in threading.enumerate() if isinstance(thread, Collector)}


def when_called(pool, call):
    """Call `call()` in the callback of a task; return a future of its result."""
    outcome = Future()

    def callback(_):
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    pool.submit(abs, -1).add_done_callback(callback)
    return outcome


@pytest.mark.parametrize("way", WAYS)
def test_a_callback_may_wait(way):
    before = collectors()
    with owngil.Pool(1) as pool:
        assert when_called(pool, lambda: way(pool, pool.submit(abs, -5))).result(300) == 5
        assert pool.submit(abs, -3).result() == 3
    assert collectors() <= before


@pytest.mark.parametrize("way", WAYS[:7])
def test_callbacks_that_wait_do_not_wait_for_each_other(way):
    outer, inner = owngil.Channel(), owngil.Channel()
    with owngil.Pool(3) as pool:
        begun = threading.Event()
        futures = [pool.submit(outer.recv), pool.submit(inner.recv)]
        first = when_called(pool, lambda: begun.set() or way(pool, futures[0]))
        begun.wait()
        second = when_called(pool, lambda: way(pool, futures[1]))
        outer.send(1)
        assert first.result(300) == 1
        assert not second.done()
        inner.send(2)
        assert second.result(300) == 2


def test_each_of_many_callbacks_waits_for_the_next(ends_cleanly):
    out = ends_cleanly(
        """
        import threading
        import owngil

        with owngil.Pool(1) as pool:
            depth = []
            def callback(future):
                depth.append(future.result())
                if len(depth) < 100:
                    following = pool.submit(abs, -len(depth))
                    following.add_done_callback(callback)
                    assert following.exception() is None
            pool.submit(abs, 0).add_done_callback(callback)
            while len(depth) < 100:
                pool.submit(abs, 1).result()
        print(depth == list(range(100)), threading.active_count())
        """
    )
    assert out == "True 1\n"


def test_a_callback_that_does_not_wait_starts_no_thread():
    gate = owngil.Channel()
    with owngil.Pool(1) as pool:

        def look():
            waiting = pool.submit(gate.recv)
            waiting.add_done_callback(lambda _: None)
            for method in (waiting.result, waiting.exception):
                with pytest.raises(TimeoutError):
                    method(0)
            return waiting.done(), threading.get_ident() == pool._dispatcher.collector_ident

        assert when_called(pool, look).result(300) == (False, True)
        gate.send(1)


def test_the_pool_ends_after_its_callbacks():
    called = []
    with owngil.Pool(1) as pool:

        def callback(_):
            wait([pool.submit(abs, -1)])
            gate.wait(0.05)
            called.append(1)

        gate = threading.Event()
        pool.submit(abs, -1).add_done_callback(callback)
        pool.submit(abs, -1).result()
        while not pool._dispatcher._relieved and not called:  # until the callback has submitted; then the pool closes
            pool.submit(abs, -1).result()
    assert called == [1]


def test_shutdown_in_a_callback_that_has_waited():
    with owngil.Pool(1) as pool:

        def call():
            wait([pool.submit(abs, -1)])
            pool.shutdown()
            return 5

        assert when_called(pool, call).result(300) == 5
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(abs, 1)


def test_an_exception_of_a_callback_that_has_waited_stops_nothing(capsys):
    def leave(_):
        wait([pool.submit(abs, -1)])
        raise SystemExit("from a callback")

    with owngil.Pool(1) as pool:
        pool.submit(abs, -1).add_done_callback(leave)
        assert pool.submit(abs, -2).result(300) == 2
    assert "from a callback" in capsys.readouterr().err


def _refuse(self):
    raise RuntimeError("can't start new thread")


def test_without_another_thread_a_callback_waits_where_it_can(monkeypatch):
    with owngil.Pool(1) as pool:
        pool.submit(abs, -1).result()
        monkeypatch.setattr(Collector, "start", _refuse)
        gate = owngil.Channel()
        assert when_called(pool, lambda: pool.submit(abs, -2).result()).result(300) == 2
        assert when_called(pool, lambda: pool.submit(abs, -2).result(300)).result(300) == 2
        assert when_called(pool, lambda: pool.submit(abs, -2).exception()).result(300) is None
        assert when_called(pool, lambda: list(pool.map(abs, [-2, -3]))).result(300) == [2, 3]
        assert when_called(pool, lambda: pool.broadcast(abs, -2)).result(300) == [2]
        with pytest.raises(TimeoutError):
            when_called(pool, lambda: pool.submit(gate.recv).result(0.01)).result(300)
        gate.send(None)
        assert pool.submit(abs, -4).result(300) == 4


def test_without_another_thread_other_waits_raise(monkeypatch):
    with owngil.Pool(1) as pool:
        pool.submit(abs, -1).result()
        monkeypatch.setattr(Collector, "start", _refuse)
        futures = []

        def call():
            futures.append(pool.submit(abs, -2))
            return [future.result() for future in as_completed(futures)]

        with pytest.raises(RuntimeError, match="can't start new thread"):
            when_called(pool, call).result(300)
        assert futures[0].result(300) == 2
        monkeypatch.undo()
        assert when_called(pool, lambda: pool.submit(abs, -3).result()).result(300) == 3


@pytest.mark.parametrize("way", WAYS[:7])
def test_a_callback_may_wait_in_a_worker_that_received_the_pool(way):
    def task(pool):
        outcome = Future()
        pool.submit(abs, -1).add_done_callback(lambda _: outcome.set_result(way(pool, pool.submit(abs, -5))))
        return outcome.result(300)

    with owngil.Interpreter() as it, owngil.Pool(2) as pool:
        assert it.call(task, pool) == 5
        assert pool.submit(task, pool).result(300) == 5


_AS_COMPLETED = pytest.param(
    "[future.result() for future in as_completed([slow])]",
    marks=pytest.mark.skipif(sys.version_info < (3, 13), reason="3.12 starts no thread when the program has ended"),
)


@pytest.mark.parametrize("wait", ["[slow.result()]", _AS_COMPLETED])
@pytest.mark.parametrize("ending", ["", "pool.shutdown()", "raise SystemExit", "with pool: pass", "del pool"])
def test_a_callback_may_wait_at_the_end_of_the_program(ends_cleanly, ending, wait):
    out = ends_cleanly(
        f"""
        import time
        import owngil
        from concurrent.futures import as_completed

        pool = owngil.Pool(2)
        slow = pool.submit(time.sleep, 0.2)
        def callback(future):
            print({wait}, flush=True)
        pool.submit(abs, -1).add_done_callback(callback)
        {ending}
        """
    )
    assert out == "[None]\n"


def test_tasks_that_are_cancelled_end_the_wait():
    gate = owngil.Channel()
    pool = owngil.Pool(1)
    running = pool.submit(gate.recv)
    waiting = pool.submit(abs, -1)
    ended, begun = Future(), Future()

    def callback(future):
        begun.set_result(None)
        ended.set_result(wait([waiting]).done == {waiting})

    other = pool.submit(abs, -1)
    other.add_done_callback(callback)
    gate.send(1)
    running.result()
    begun.result(300)
    pool.shutdown(wait=False, cancel_futures=True)
    assert ended.result(300)
    pool.shutdown()


def test_when_the_pool_breaks_all_waits_end(ends_cleanly):
    out = ends_cleanly(
        """
        import logging
        import owngil
        from concurrent.futures import wait

        logging.getLogger("concurrent.futures").disabled = True  # it shows the initializer's exception
        gate = owngil.Channel()
        def refuse():
            gate.recv()
            raise OSError("no licence")

        pool = owngil.Pool(2, initializer=refuse)
        futures = [pool.submit(abs, k) for k in range(20)]
        for k, future in enumerate(futures):
            future.add_done_callback(lambda future, k=k: wait(futures[k:]))
        gate.send(1)
        print({type(future.exception()).__name__ for future in futures})
        gate.send(1)
        pool.shutdown()
        """
    )
    assert out == "{'BrokenPoolError'}\n"


def _double_of(pool):
    return pool.submit(int.__mul__, 2, 21).result()


def test_a_callback_may_wait_for_an_interpreter_that_needs_its_pool():
    with owngil.Interpreter() as it, owngil.Pool(1) as pool:
        assert when_called(pool, lambda: it.call(_double_of, pool)).result(300) == 42


def test_a_callback_may_wait_for_a_client_of_a_pool_that_breaks():
    go, submitted = owngil.Event(), owngil.Event()
    with owngil.Interpreter() as it, owngil.Pool(1, initializer=_fail_after, initargs=(go,)) as pool:
        outcome = Future()
        failing = pool.submit(abs, -1)
        client = it.submit(_name_of_failure, pool, submitted)
        failing.add_done_callback(lambda _: outcome.set_result(client.result()))
        assert submitted.wait(300)
        go.set()
        assert outcome.result(300) == "BrokenPoolError"


def _fail_after(go):
    go.wait()
    raise ValueError


def _name_of_failure(pool, submitted):
    future = pool.submit(abs, -1)
    submitted.set()
    try:
        return future.result()
    except Exception as error:
        return type(error).__name__


def test_callbacks_of_two_pools_may_wait_for_each_other():
    both = threading.Barrier(2)

    def wait_for(pool):
        both.wait(300)  # both callbacks run now
        return pool.submit(abs, -1).result()

    with owngil.Pool(1) as p, owngil.Pool(1) as q:
        outcomes = [when_called(p, partial(wait_for, q)), when_called(q, partial(wait_for, p))]
        assert [outcome.result(300) for outcome in outcomes] == [1, 1]


def test_a_callback_of_a_cancelled_future_may_wait_for_that_future():
    gate = owngil.Channel()
    with owngil.Pool(1) as pool:
        futures = [pool.submit(gate.recv), pool.submit(abs, -1), pool.submit(abs, -2)]
        states = []
        futures[2].add_done_callback(lambda _: states.append(wait(futures, 300).not_done))
        gate.send(None)
        futures[2].cancel()
        assert states == [set()]
