import _thread
import gc
import multiprocessing
import re
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, wait
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import owngil
from owngil._isolation.cores import usable_cores


def test_a_pool_is_an_executor(pool):
    assert isinstance(pool, Executor)


def test_lambdas_and_closures(pool):
    offset = 7
    assert list(pool.map(lambda x: x + offset, range(3))) == [7, 8, 9]


def test_workers_run_at_the_same_time():
    def meet(mine, other):
        mine.send(None)
        other.recv(300)

    a, b = owngil.Channel(), owngil.Channel()
    with owngil.Pool(2) as pool:
        for future in [pool.submit(meet, a, b), pool.submit(meet, b, a)]:
            future.result()


def test_workers_start_as_they_are_needed():
    with owngil.Pool(8) as pool:
        for _ in range(5):
            pool.submit(abs, 1).result()
        assert 1 <= len(pool._dispatcher.workers.alive) <= 5


def test_default_size_is_the_usable_cores():
    with owngil.Pool() as pool:
        assert pool._max_workers == usable_cores()


@pytest.mark.parametrize("name", ["max_workers", "max_tasks_per_child"])
@pytest.mark.parametrize("value", ["4", 2.0, [1]])
def test_invalid_numbers_of_workers(name, value):
    with pytest.raises(
        TypeError, match=rf"^{name} must be an integer, 1 or more, or None, not {re.escape(repr(value))}$"
    ):
        owngil.Pool(**{name: value})


def test_a_number_of_workers_may_be_numpys():
    with owngil.Pool(np.int64(2)) as pool:
        assert pool.broadcast(abs, -1) == [1, 1]


def test_names_of_workers():
    with owngil.Pool(1, thread_name_prefix="crunch") as pool:
        assert pool.submit(Path("/proc/thread-self/comm").read_text).result() == "crunch-0\n"


def test_map_unordered_yields_each_result_once(pool):
    assert sorted(pool.map(lambda x: x, range(100), ordered=False, chunksize=3)) == list(range(100))


def test_map_submits_at_once_and_lazily_with_a_buffer(pool):
    seen = []

    def items():
        for k in count():
            seen.append(k)
            yield k

    results = pool.map(lambda x: -x, items(), buffersize=4)
    assert seen == [0, 1, 2, 3]
    assert [next(results) for _ in range(10)] == [-k for k in range(10)]
    assert len(seen) == 14
    results.close()


@pytest.mark.parametrize("ordered", [True, False])
def test_map_cancels_the_rest(ordered):
    ran, gate = owngil.Channel(), owngil.Channel()

    def task(k, ran, gate):
        ran.send(k)
        if k == 0:
            raise ValueError(k)
        gate.recv()

    with owngil.Pool(1) as pool:
        with pytest.raises(ValueError):
            list(pool.map(task, range(1000), [ran] * 1000, [gate] * 1000, ordered=ordered, chunksize=1))
        gate.close()
    assert len(ran) <= 2  # the failed call, and the one that the worker had taken by then


def test_map_refuses_invalid_arguments(pool):
    for options in ({"chunksize": 0}, {"buffersize": 0}):
        with pytest.raises(ValueError):
            pool.map(abs, [1], **options)
    with pytest.raises(TypeError):
        pool.map(abs)


def test_map_shows_progress(pool, capsys):
    assert list(pool.map(abs, range(10), progress=True)) == list(range(10))
    assert "10/10" in capsys.readouterr().err


def test_arrays_in_and_out(pool):
    def work(arrays):
        a = arrays["a"]
        return a.flags.writeable, a * 2, a.T.copy(order="F")

    array = np.arange(12.0).reshape(3, 4)
    writable, doubled, transposed = pool.submit(work, {"a": array}).result()
    assert not writable
    np.testing.assert_array_equal(doubled, array * 2)
    np.testing.assert_array_equal(transposed, array.T)
    doubled[0, 0] = 5
    assert doubled.flags.writeable
    assert array[0, 0] == 0


def test_arrays_outlive_their_worker():
    with owngil.Pool(1) as pool:
        array = pool.submit(lambda: np.full(100_000, 7.0)).result()
    gc.collect()
    assert array.sum() == 700_000
    array[:] = 1
    assert array.sum() == 100_000


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3)),
        np.array(5.0),
        np.arange(24).reshape(2, 3, 4)[:, ::2, ::-1],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.array([{"an": "object"}, None], dtype=object),
        np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]),
    ],
    ids=["empty", "scalar", "strided", "fortran", "structured", "datetime", "object", "masked"],
)
def test_arrays_of_all_kinds_come_back_equal(pool, array):
    back = pool.submit(lambda x: x, array).result()
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert str(back) == str(array)


@pytest.mark.parametrize("data", [b"", b"x" * 1000, bytearray(b"abc"), "text", None, 2**100, {1: [2, (3,)]}, {1, 2}])
def test_plain_objects_come_back_equal(pool, data):
    back = pool.submit(lambda x: x, data).result()
    assert back == data
    assert type(back) is type(data)


def test_big_results_come_back(pool):
    assert len(pool.submit(lambda: b"x" * 30_000_000).result()) == 30_000_000
    assert pool.submit(lambda: np.ones(5_000_000)).result().sum() == 5_000_000


def test_state_of_an_initializer():
    def prepare(value):
        import builtins

        builtins.prepared = value

    with owngil.Pool(2, initializer=prepare, initargs=(5,)) as pool:
        assert list(pool.map(lambda _: prepared, range(10))) == [5] * 10  # noqa: F821


def test_a_failing_initializer_breaks_the_pool():
    def refuse():
        raise OSError("no licence")

    with owngil.Pool(2, initializer=refuse) as pool:
        future = pool.submit(abs, 1)
        with pytest.raises(BrokenExecutor, match="no licence"):
            future.result(300)
        with pytest.raises(owngil.BrokenPoolError, match="no licence"):
            for _ in range(100):
                pool.submit(abs, 1).result(300)


def test_an_initializer_that_is_stopped_before_it_begins():
    begun = owngil.Channel()
    with owngil.Pool(1, initializer=begun.send, initargs=(None,)) as pool:
        future = pool.submit(abs, 1)
        pool._dispatcher.workers.stop()  # long before its interpreter exists
        with pytest.raises(owngil.BrokenPoolError, match="KeyboardInterrupt"):
            future.result()
    assert len(begun) == 0


def test_interrupts_and_counts_of_tasks_leave_an_initializer_alone():
    begun, gate = owngil.Channel(), owngil.Channel()

    def prepare():
        begun.send(None)
        gate.recv()

    with owngil.Pool(1, initializer=prepare) as pool:
        future = pool.submit(abs, -1)
        begun.recv()
        (worker,) = pool.stats().workers
        assert (worker.state, worker.tasks) == ("starting", 0)
        assert not pool._dispatcher.busy
        pool.interrupt()
        gate.send(None)
        assert future.result() == 1
        assert pool.stats().total.tasks == 1


def test_max_tasks_per_child():
    with owngil.Pool(1, max_tasks_per_child=3) as pool:

        def count_calls():
            import builtins

            builtins.calls = getattr(builtins, "calls", 0) + 1
            return builtins.calls

        assert [pool.submit(count_calls).result() for _ in range(7)] == [1, 2, 3, 1, 2, 3, 1]
        assert list(pool.map(lambda _: 1, range(20), chunksize=1)) == [1] * 20
    with pytest.raises(ValueError):
        owngil.Pool(1, max_tasks_per_child=0)


def test_interrupt_ends_all_running_tasks():
    started = owngil.Channel()

    def spin(started):
        started.send(None)
        while True:
            pass

    with owngil.Pool(2) as pool:
        futures = [pool.submit(spin, started) for _ in range(2)]
        for _ in futures:
            started.recv()
        pool.interrupt()
        for future in futures:
            with pytest.raises(KeyboardInterrupt):
                future.result(300)
        assert pool.submit(abs, -1).result() == 1


def test_pools_inside_workers(pool):
    def nested(n):
        import owngil

        with owngil.Pool(2) as inner:
            return sum(inner.map(lambda x: x * x, range(n)))

    assert pool.submit(nested, 5).result() == 30


def test_a_forgotten_pool_finishes_and_ends():
    pool = owngil.Pool(2)
    future = pool.submit(abs, -3)
    dispatcher = pool._dispatcher
    del pool
    gc.collect()
    dispatcher.join()
    assert not dispatcher._collector.is_alive()
    assert future.result(0) == 3


def test_arguments_that_cannot_be_rebuilt_fail_the_task_only(pool):
    class Bad:
        def __reduce__(self):
            return int, ("not a number",)

    with pytest.raises(ValueError, match="not a number"):
        pool.submit(abs, Bad()).result()
    assert pool.submit(abs, -1).result() == 1


def test_tasks_that_spoil_their_worker_still_answer():
    class Nasty(Exception):
        def __str__(self):
            raise KeyboardInterrupt

    class Stream:
        def flush(self):
            raise KeyboardInterrupt

    def spoil_output(stream):
        import sys

        sys.stdout = stream
        return 1

    def fail(kind):
        raise kind

    with owngil.Pool(1) as pool:
        assert pool.submit(spoil_output, Stream()).result(300) == 1
        with pytest.raises(Nasty) as caught:
            pool.submit(fail, Nasty).result(300)
        assert "raise kind" in str(caught.value.__cause__)
        assert pool.submit(abs, -1).result(300) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_raises_stops_nothing(capsys):
    def leave(future):
        raise SystemExit("from a callback")

    with owngil.Pool(1) as pool:
        pool.submit(abs, -1).add_done_callback(leave)
        assert pool.submit(abs, -2).result(300) == 2
    assert "from a callback" in capsys.readouterr().err


def test_paths_that_are_no_strings_are_ignored(monkeypatch):
    import sys
    from pathlib import Path

    monkeypatch.setattr(sys, "path", [*sys.path, Path("/nowhere")])
    with owngil.Pool(1) as pool:
        assert pool.submit(abs, -1).result(300) == 1


def test_a_failing_start_of_the_collector_is_no_hang(monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    with owngil.Pool(1) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(_thread, "start_new_thread", refuse)
            with pytest.raises(RuntimeError, match="can't start"):
                pool.submit(abs, 1)
        assert pool.submit(abs, -1).result(300) == 1


def test_one_thread_is_enough_to_collect(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    with owngil.Pool(1) as pool, monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        future = pool.submit(abs, -1)
        assert wait([future], 300).done == {future}
        called = threading.Event()
        pool.submit(abs, -1).add_done_callback(lambda future: called.set())
        assert called.wait(300)


def test_stop_reaches_tasks_that_are_about_to_begin():
    class Stop(KeyboardInterrupt):
        pass

    def spin():
        while True:
            pass

    for _ in range(5):
        with pytest.raises(Stop), owngil.Pool(2) as pool:
            futures = [pool.submit(spin) for _ in range(4)]
            raise Stop
        assert all(future.done() for future in futures)


def test_the_end_of_a_block_interrupts_again_a_task_that_caught_the_first_interrupt():
    def shrug(told):
        for _ in range(2):
            told.send(None)
            try:
                while True:
                    pass
            except KeyboardInterrupt:
                pass
        return "interrupted twice"

    told = owngil.Channel()
    with pytest.raises(KeyboardInterrupt), owngil.Pool(1) as pool:
        future = pool.submit(shrug, told)
        told.recv(300)
        future.stop()
        told.recv(300)
        time.sleep(0.5)  # an earlier interrupt counts as the same Ctrl-C
        raise KeyboardInterrupt
    assert future.result(300) == "interrupted twice"


def test_an_interrupt_just_after_the_start_of_a_worker_leaves_the_worker_known(monkeypatch):
    from owngil import _core
    from owngil._tasks import workers

    class Interrupted:
        count = 0

        def __getattr__(self, name):
            return getattr(_core, name)

        def start_worker(self, *arguments):
            _core.start_worker(*arguments)
            self.count += 1
            if self.count == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(workers, "_core", Interrupted())
    with owngil.Pool(2) as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.submit(abs, -1)
        assert len(set(pool.broadcast(threading.get_ident))) == 2
        assert len(pool.stats().workers) == 2


def test_a_failed_initializer_is_logged(caplog):
    def fail():
        raise ValueError("no license")

    with owngil.Pool(1, initializer=fail) as pool, pytest.raises(owngil.BrokenPoolError, match="no license"):
        pool.submit(abs, 1).result()
    (record,) = [record for record in caplog.records if record.name == "concurrent.futures"]
    assert (record.levelname, record.getMessage()) == ("CRITICAL", "Exception in initializer:")
    assert "ValueError: no license" in caplog.text


def test_keywords_of_process_pools():
    with owngil.Pool(1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=5) as pool:
        assert pool.submit(abs, -1).result() == 1


@pytest.mark.parametrize("number", [0, -1])
def test_the_standards_words_for_too_few_workers(number):
    with pytest.raises(ValueError, match=f"max_workers must be greater than 0, not {number}"):
        owngil.Pool(number)
