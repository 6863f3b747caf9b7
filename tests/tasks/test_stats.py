"""Pool.stats and Interpreter.stats."""

import time

import numpy as np
import pytest
from patience import wait_until

import owngil
from owngil._tasks.stats import History, Stats, WorkerStats, worker_stats


def _wait(seconds):
    time.sleep(seconds)


def test_tasks_calls_and_failures_are_counted():
    with owngil.Pool(2) as pool:
        for _ in range(5):
            pool.submit(abs, 1).result()
        with pytest.raises(ValueError):
            pool.submit(int, "x").result()
        assert (pool.stats().total.tasks, pool.stats().total.calls, pool.stats().total.failed) == (6, 6, 1)
        assert len(list(pool.map(abs, range(10), chunksize=5))) == 10
        assert (pool.stats().total.tasks, pool.stats().total.calls) == (8, 16)
        with pytest.raises(ZeroDivisionError):
            list(pool.map(lambda x: 1 // x, [1, 1, 0, 1], chunksize=4))
        assert (pool.stats().total.calls, pool.stats().total.failed) == (19, 2)  # the fourth was not called


def test_a_task_counts_before_its_result_is_there():
    with owngil.Interpreter() as it:
        for k in range(200):
            it.call(abs, k)
            assert it.stats().workers[0].tasks == k + 1


def test_times_add_up():
    start = time.monotonic()
    with owngil.Pool(1) as pool:
        pool.submit(_wait, 0.2).result()
        wait_until(lambda: pool.stats().workers[0].state == "idle")
        time.sleep(0.1)
        (worker,) = pool.stats().workers
        whole = time.monotonic() - start
    assert 0.2 <= worker.busy < whole
    assert 0.1 <= worker.idle < whole
    assert 0 < worker.startup < whole
    assert worker.busy + worker.idle + worker.startup + worker.transfer <= whole
    assert worker.state == "idle"


def test_running_and_queued_tasks_count():
    gate, inside = owngil.Event(), owngil.Event()

    def task(inside, gate):
        inside.set()
        gate.wait()

    with owngil.Pool(1) as pool:
        pool.submit(task, inside, gate)
        waiting = [pool.submit(abs, 1) for _ in range(3)]
        inside.wait()
        first, second = pool.stats(), pool.stats()
        assert (first.queued, first.workers[0].state, first.workers[0].tasks) == (3, "running", 0)
        assert 0 < first.workers[0].busy < second.workers[0].busy
        waiting[0].cancel()
        assert pool.stats().queued == 2
        gate.set()
    assert pool.stats().queued == 0
    assert pool.stats().total.waited > 0


def test_time_of_transfer_is_measured():
    array = np.zeros(1_000_000)
    text = [str(k) for k in range(300_000)]
    with owngil.Pool(1) as pool:
        pool.submit(abs, 1).result()
        before = pool.stats()
        assert pool.submit(lambda array, text: (len(array), text), array, text).result() == (1_000_000, text)
        after = pool.stats()
    assert after.total.bytes_in - before.total.bytes_in > 8_000_000
    assert after.total.bytes_out - before.total.bytes_out > 1_000_000
    # Pickling 300,000 strings takes a millisecond at the very least.
    assert after.total.transfer - before.total.transfer > 0.001
    assert after.sending - before.sending > 0.001
    assert after.receiving - before.receiving > 0.001


def test_receiving_by_the_collector_counts_too():
    text = [str(k) for k in range(300_000)]
    with owngil.Pool(1) as pool:
        future = pool.submit(lambda text: text, text)
        future.add_done_callback(lambda _: None)  # makes the collector take the answer
        assert future.result() == text
        assert pool.stats().receiving > 0.001


def test_ended_workers_keep_their_rows():
    with owngil.Pool(1, max_tasks_per_child=2) as pool:
        for k in range(7):
            pool.submit(abs, k).result()
    rows = pool.stats().workers
    assert [row.tasks for row in rows] == [2, 2, 2, 1]
    assert {row.state for row in rows} == {"ended"}
    assert len({row.name for row in rows}) == 4
    assert pool.stats().total.tasks == 7


def test_old_workers_become_one_row():
    counters = (5, (1_000_000_000, 2_000_000_000, 0, 500_000_000, 0, 0), 4_000_000_000, 10, 20, 3, 7, 8)
    history = History()
    for k in range(100):
        history.add(f"w-{k}", counters)
    first, *rest = history.rows()
    assert (first.name, first.tasks, first.calls, first.busy, first.bytes_out) == ("(36 earlier)", 360, 720, 18, 288)
    assert [row.name for row in rest] == [f"w-{k}" for k in range(36, 100)]


def test_a_broken_pool_and_one_that_never_started_have_stats():
    assert owngil.Pool(1).stats().total.tasks == 0
    with owngil.Pool(1, initializer=int, initargs=("x",)) as pool:
        with pytest.raises(owngil.BrokenPoolError):
            pool.submit(abs, 1).result()
    assert pool.stats().total.tasks == 0


def test_the_text_is_a_table():
    counters = (3, (100_000_000, 2_000_000_000, 0, 1_234_000_000, 0, 0), 3_000_000, 1500, 1500, 2, 1_234_567, 0)
    stats = Stats((worker_stats("pool-1-0", counters), worker_stats("pool-1-1", counters, ended=True)), 7, 0.5, 0.25)
    assert str(stats) == repr(stats)
    assert (
        str(stats)
        == """\
worker    state    tasks  calls  failed  busy s  idle s  start-up s  transfer s  wait/task ms    in  out
pool-1-0  running  1,500  1,500       2   1.234   2.000       0.100       0.000         0.002  1 MB  0 B
pool-1-1  ended    1,500  1,500       2   1.234   2.000       0.100       0.000         0.002  1 MB  0 B
total              3,000  3,000       4   2.468   4.000       0.200       0.000         0.002  2 MB  0 B
7 tasks queued; callers spent 0.500 s on sending and 0.250 s on receiving"""
    )
    assert isinstance(stats.workers[0], WorkerStats)
    with pytest.raises(AttributeError):
        stats.queued = 1


def test_nested_pools_have_their_own():
    def outer():
        with owngil.Pool(1) as pool:
            pool.submit(abs, 1).result()
            return pool.stats()

    with owngil.Pool(1) as pool:
        inner = pool.submit(outer).result()
        assert (inner.total.tasks, pool.stats().total.tasks) == (1, 1)
