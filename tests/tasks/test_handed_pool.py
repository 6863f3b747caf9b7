"""A pool that is handed to its own workers, to workers of other pools and to interpreters."""

import time
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait

import numpy as np
import pytest
from handed_tasks import (
    by_as_completed,
    by_callbacks,
    by_coroutine,
    by_exception,
    by_polling,
    by_result_with_timeout,
    by_threads,
    by_wait,
    fib,
    quicksort,
    tree,
)

import owngil


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_wait_for_tasks(workers):
    with owngil.Pool(workers) as pool:
        assert pool.submit(fib, pool, 8).result(300) == 21


@pytest.mark.parametrize("workers", [1, 2])
def test_quicksort_by_map(workers):
    items = [7, 3, 9, 1, 8, 2, 2, 6]
    with owngil.Pool(workers) as pool:
        assert pool.submit(quicksort, pool, items).result(300) == sorted(items)


@pytest.mark.parametrize(
    "collect",
    [by_wait, by_as_completed, by_result_with_timeout, by_exception, by_polling, by_callbacks, by_coroutine]
    + [by_threads],
)
def test_all_ways_to_wait(collect):
    with owngil.Pool(1) as pool:
        assert pool.submit(tree, pool, 2, collect).result(300) == 4


def test_unordered_map_in_the_only_worker():
    def inner(pool):
        return sorted(pool.map(abs, range(-3, 3), ordered=False, chunksize=2))

    with owngil.Pool(1) as pool:
        assert pool.submit(inner, pool).result(300) == [0, 1, 1, 2, 2, 3]


def test_surplus_workers_end():
    with owngil.Pool(1) as pool:
        assert pool.submit(tree, pool, 2, by_wait).result(300) == 4
        deadline = time.monotonic() + 300
        while len(pool._dispatcher.workers.alive) > 1 and time.monotonic() < deadline:
            pool.submit(abs, 1).result(300)
        assert len(pool._dispatcher.workers.alive) == 1


def test_one_client_for_an_interpreter_and_the_owners_own_pool():
    def same(a, b):
        return a._dispatcher is b._dispatcher

    with owngil.Pool(1) as pool:
        assert pool.submit(same, pool, pool).result(300)
        assert pool.submit(lambda p: p, pool).result(300) is pool


def test_errors_output_and_arrays(capfd):
    def fail():
        raise LookupError("inner")

    def task(pool):
        array = np.arange(1000.0)
        total = pool.submit(np.sum, array).result()
        doubled = pool.submit(lambda a: (a.flags.writeable, a * 2), array).result()
        doubled[1][0] = 5
        pool.submit(print, "from within").result()
        try:
            pool.submit(fail).result()
        except LookupError as error:
            return total, doubled[0], doubled[1][0], str(error), type(error.__cause__).__name__

    with owngil.Pool(1) as pool:
        assert pool.submit(task, pool).result(300) == (499500.0, False, 5.0, "inner", "RemoteTraceback")
    assert capfd.readouterr().out == "from within\n"


def test_cancel_and_timeout():
    def task(pool, gate, entered):
        running = pool.submit(gate.wait)
        entered.wait()
        queued = pool.submit(abs, 1)
        cancelled = queued.cancel(), queued.cancelled()
        try:
            running.result(0)
        except TimeoutError:
            late = True
        gate.set()
        try:
            queued.result()
        except CancelledError:
            return cancelled, late, running.result()

    gate, entered = owngil.Event(), owngil.Event()
    entered.set()
    with owngil.Pool(2) as pool:
        assert pool.submit(task, pool, gate, entered).result(300) == ((True, True), True, True)


def test_interrupt_reaches_a_waiting_task_and_the_task_that_it_runs():
    def endless(entered):
        entered.set()
        while True:
            pass

    def task(pool, entered):
        return pool.submit(endless, entered).result()

    entered = owngil.Event()
    with owngil.Pool(1) as pool:
        future = pool.submit(task, pool, entered)
        assert entered.wait(300)
        pool.interrupt()
        with pytest.raises(KeyboardInterrupt):
            future.result(300)
        assert pool.submit(abs, -1).result(300) == 1


def test_interrupt_of_a_task_that_waits_for_another_worker():
    def endless(entered, ended):
        try:
            entered.set()
            while True:
                pass
        finally:
            ended.set()

    def task(pool, entered, ended):
        return pool.submit(endless, entered, ended).result()

    entered, ended = owngil.Event(), owngil.Event()
    with owngil.Pool(2) as pool:
        pool.broadcast(abs, 1)  # both workers run, so the other one takes the task
        future = pool.submit(task, pool, entered, ended)
        assert entered.wait(300)
        deadline = time.monotonic() + 300
        while not pool._dispatcher.workers.blocked and time.monotonic() < deadline:  # the task is about to wait
            pool.submit(abs, 1).cancel()
        assert pool._dispatcher.workers.blocked
        future.stop()
        with pytest.raises(KeyboardInterrupt):
            future.result(300)
        assert ended.wait(300)
        assert pool.submit(abs, -1).result(300) == 1


def test_deep_recursion_takes_other_workers():
    def down(pool, n):
        return 0 if n == 0 else 1 + pool.submit(down, pool, n - 1).result()

    with owngil.Pool(1) as pool:
        assert pool.submit(down, pool, 70).result(300) == 70


def test_cancel_futures_of_the_owner_reaches_clients():
    def task(pool, entered, gate):
        futures = [pool.submit(abs, k) for k in range(3)]
        entered.set()
        gate.wait()
        return len(wait(futures).done)

    entered, gate = owngil.Event(), owngil.Event()
    pool = owngil.Pool(1)
    future = pool.submit(task, pool, entered, gate)
    assert entered.wait(300)
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()
    assert future.result(300) == 3
    pool.shutdown()


def test_limit_of_the_outer_task():
    def endless():
        while True:
            pass

    with owngil.Pool(1) as pool, pytest.raises(TimeoutError):
        pool.with_timeout(0.2).submit(lambda p: p.submit(endless).result(), pool).result(300)


def test_methods_for_the_owner_are_refused_in_clients():
    def task(pool):
        refused = []
        calls = [lambda: pool.broadcast(print), lambda: pool.with_timeout(1)]
        uses = [pool.shutdown, pool.stats, pool.__enter__, *calls]
        for use in uses:
            with pytest.raises(RuntimeError, match="is for the interpreter that made the pool") as info:
                use()
            refused.append(str(info.value))
        return len(refused)

    with owngil.Pool(1, thread_name_prefix="w") as pool:
        assert pool.submit(task, pool).result(300) == 5


def test_owner_closes_while_a_task_submits():
    def task(pool, entered, gate):
        first = pool.submit(abs, -1)
        entered.set()
        gate.wait()
        try:
            pool.submit(abs, 1)
        except RuntimeError as error:
            return first.result(), str(error)

    entered, gate = owngil.Event(), owngil.Event()
    pool = owngil.Pool(1)
    future = pool.submit(task, pool, entered, gate)
    assert entered.wait(300)
    pool.shutdown(wait=False)
    gate.set()
    value, message = future.result(300)
    assert (value, "after shutdown" in message) == (1, True)
    pool.shutdown()


def test_closed_and_never_used_pool_in_an_interpreter():
    def use(pool):
        try:
            return pool.submit(abs, -2).result()
        except RuntimeError:
            return "closed"

    with owngil.Interpreter() as it:
        pool = owngil.Pool(1)
        assert it.call(use, pool) == 2
        future = it.submit(use, pool)
        pool.shutdown()
        assert future.result(300) in (2, "closed")
        assert it.call(use, pool) == "closed"


def test_broken_pool():
    def fail():
        raise ValueError("no")

    def use(pool):
        try:
            wait([future := pool.submit(abs, -2)])
            return future.result()
        except owngil.BrokenPoolError as error:
            return str(error)
        except RuntimeError as error:
            return str(error)

    with owngil.Interpreter() as it, owngil.Pool(1, initializer=fail) as pool:
        assert "ValueError: no" in it.submit(use, pool).result(300)
        assert "ValueError: no" in it.submit(use, pool).result(300)


def test_a_worker_ends_with_tasks_outstanding():
    def task(pool, done):
        for _ in range(3):
            pool.submit(done.send, 1)

    done = owngil.Channel()
    with owngil.Pool(1, max_tasks_per_child=1) as pool:
        pool.submit(task, pool, done).result(300)
        assert [done.recv(300) for _ in range(3)] == [1, 1, 1]


def test_two_pools_that_wait_for_each_other():
    def ping(a, b, n):
        return 0 if n == 0 else 1 + b.submit(ping, b, a, n - 1).result()

    with owngil.Pool(1) as a, owngil.Pool(1) as b:
        assert a.submit(ping, a, b, 5).result(300) == 5


def test_first_completed_and_an_unread_future():
    def task(pool, gate):
        stuck = pool.submit(gate.wait)
        quick = pool.submit(abs, -4)
        done, left = wait([stuck, quick], return_when=FIRST_COMPLETED)
        gate.set()
        return quick.result() if quick in done else None, len(left)

    with owngil.Pool(2) as pool:
        assert pool.submit(task, pool, owngil.Event()).result(300) in ((4, 1), (4, 0))


def test_ends_at_exit_with_nested_tasks_left(ends_cleanly):
    out = ends_cleanly("""
        import owngil

        def leaf(k):
            print(k)

        def task(pool):
            for k in range(3):
                pool.submit(leaf, k)

        pool = owngil.Pool(1)
        pool.submit(task, pool)
    """)
    assert sorted(out.split()) in ([], ["0", "1", "2"], ["0"], ["0", "1"])


def test_recursion_in_a_program(ends_cleanly):
    out = ends_cleanly("""
        import owngil

        def fib(n):
            if n < 2:
                return n
            a, b = pool.submit(fib, n - 1), pool.submit(fib, n - 2)
            return a.result() + b.result()

        pool = owngil.Pool(2)
        print(pool.submit(fib, 9).result())
        pool.shutdown()
    """)
    assert out == "34\n"


def test_an_interrupt_while_the_collector_starts_keeps_no_worker(ends_cleanly):
    """The dispatcher lost track of the collector's thread, so the worker could not end."""
    out = ends_cleanly("""
        import os, time
        import owngil

        def submit_interrupted(pool):
            import _thread

            start = _thread.start_new_thread

            def start_and_raise(*arguments):
                start(*arguments)
                _thread.start_new_thread = start
                raise KeyboardInterrupt

            _thread.start_new_thread = start_and_raise
            try:
                (pool or owngil.Pool(1)).submit(abs, -1)
            except KeyboardInterrupt:
                return "interrupted"

        with owngil.Pool(1) as other:
            for lent in (other, None):
                assert other.submit(abs, -1).result() == 1
                while other._dispatcher.collector_ident == 0:
                    time.sleep(0.001)  # main may take the result before the collector has started
                before = set(os.listdir("/proc/self/task"))
                with owngil.Pool(1) as pool:
                    print(pool.submit(submit_interrupted, lent).result())
                while not set(os.listdir("/proc/self/task")) <= before:
                    time.sleep(0.001)  # the kernel lists a thread that was joined for a moment more
    """)
    assert out == "interrupted\n" * 2
