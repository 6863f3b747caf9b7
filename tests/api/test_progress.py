"""Progress of Pool.map, and owngil.track."""

import io
import re
import sys
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest
from rich.console import Console
from rich.progress import Progress
from tqdm import tqdm

import owngil


class Bar:
    """A class of progress bars, such as tqdm; the last one records its own events."""

    last = None

    def __init__(self, total=None):
        self.total = total
        self.n = 0
        self.closed = threading.Event()
        Bar.last = self

    def update(self, n):
        assert not self.closed.is_set()
        self.n += n

    def refresh(self):
        pass

    def close(self):
        self.closed.set()


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("total", [5000, None], ids=["known", "unknown"])
def test_a_progress_function_is_called_after_each_chunk(pool, ordered, total):
    told = []
    items = range(5000) if total else iter(range(5000))
    results = list(pool.map(abs, items, ordered=ordered, progress=lambda *args: told.append(args)))
    assert sorted(results) == list(range(5000))
    assert told[-1] == (5000, total)
    done = [args[0] for args in told]
    assert done == sorted(set(done))
    assert len(done) > 2
    assert {args[1] for args in told} == {total}


def test_finished_calls_count_before_their_results_are_read(pool):
    gate, nearly = owngil.Channel(), threading.Event()

    def note(done, total):
        if done == total - 1:
            nearly.set()

    def task(k, gate):
        if k == 0:
            gate.recv()
        return k

    results = pool.map(task, range(20), [gate] * 20, chunksize=1, progress=note)
    assert nearly.wait(300)
    gate.send(None)
    assert list(results) == list(range(20))


def test_one_thread_at_a_time_reports_progress(pool):
    inside, most = [], []

    def note(done, total):
        inside.append(threading.get_ident())
        most.append(len(inside))
        inside.pop()

    for _ in range(20):
        assert len(list(pool.map(abs, range(100), chunksize=1, progress=note))) == 100
    assert max(most) == 1


def test_a_bar_is_complete_and_closed_when_the_last_result_was_read(pool):
    for ordered in (True, False):
        for _ in range(50):
            for _ in pool.map(abs, range(30), chunksize=1, ordered=ordered, progress=Bar):
                pass
            assert (Bar.last.n, Bar.last.total, Bar.last.closed.is_set()) == (30, 30, True)


def test_an_unread_map_closes_its_bar(pool):
    results = pool.map(abs, range(1000), progress=Bar)
    assert Bar.last.closed.wait(300)
    assert Bar.last.n == 1000
    assert list(results) == list(range(1000))


def test_an_unread_map_of_a_generator_closes_its_bar(pool):
    results = pool.map(abs, iter(range(100_000)), progress=Bar)
    assert not Bar.last.closed.is_set()
    del results
    assert Bar.last.closed.is_set()


@pytest.mark.parametrize("ordered", [True, False])
def test_an_error_closes_the_bar(pool, ordered):
    seen = []
    with pytest.raises(ZeroDivisionError):
        seen.extend(pool.map(lambda x: 10 // x, [5, 2, 0, 1], chunksize=4, ordered=ordered, progress=Bar))
    assert Bar.last.closed.is_set()
    assert Bar.last.n == 2


def test_an_item_that_cannot_be_pickled_closes_the_bar(pool):
    with pytest.raises(TypeError, match="lock"):
        pool.map(abs, [threading.Lock()], progress=Bar)
    assert Bar.last.closed.is_set()
    with pytest.raises(TypeError, match="lock"):
        list(pool.map(lambda x: x, [*range(500), threading.Lock()], progress=Bar))
    assert Bar.last.closed.is_set()


@pytest.mark.parametrize("ordered", [True, False])
def test_leaving_the_loop_closes_the_bar(pool, ordered):
    for value in pool.map(abs, range(10_000), ordered=ordered, progress=Bar):
        if value >= 10:
            break
    assert Bar.last.closed.is_set()


def test_cancelling_the_pool_closes_the_bar():
    gate = owngil.Channel()
    pool = owngil.Pool(1)
    results = pool.map(lambda k, gate: gate.recv(), range(100), [gate] * 100, chunksize=1, progress=Bar)
    pool.shutdown(wait=False, cancel_futures=True)
    assert Bar.last.closed.wait(300)
    gate.close()
    pool.shutdown()
    with pytest.raises((owngil.ChannelClosed, CancelledError)):
        list(results)


def test_ctrl_c_closes_the_bar(ends_cleanly):
    out = ends_cleanly(
        """
        import os, signal, threading
        import owngil

        class Bar:
            def __init__(self, total):
                self.n = 0

            def update(self, n):
                self.n += n

            def refresh(self):
                pass

            def close(self):
                print("closed at", self.n)

        def interrupt():
            started.recv()
            os.kill(os.getpid(), signal.SIGINT)

        def task(k, started):
            if k == 3:
                started.send(None)
                owngil.Event().wait()

        started = owngil.Channel()
        threading.Thread(target=interrupt).start()
        try:
            with owngil.Pool(1) as pool:
                list(pool.map(task, range(8), [started] * 8, chunksize=1, progress=Bar))
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert re.fullmatch(r"closed at [0-3]\ninterrupted\n", out)  # the last results may still be on their way


def test_a_map_of_nothing_has_a_complete_bar(pool):
    told = []
    assert list(pool.map(abs, [], progress=lambda *args: told.append(args))) == []
    assert told == []
    assert list(pool.map(abs, [], progress=Bar)) == []
    assert Bar.last.closed.is_set()


def test_tqdm(pool, capsys):
    assert list(pool.map(abs, range(10), progress="counting")) == list(range(10))
    err = capsys.readouterr().err
    assert "counting: 100%" in err
    assert "10/10" in err


def test_a_users_own_bar_serves_several_maps_and_is_not_closed(pool):
    file = io.StringIO()
    with tqdm(total=30, file=file, mininterval=0) as bar:
        for _ in range(3):
            list(pool.map(abs, range(10), progress=bar))
        assert bar.n == 30
        bar.write("still open", file=file)
    bar = tqdm(file=file)
    list(pool.map(abs, range(10), progress=bar))
    assert (bar.n, bar.total) == (10, 10)
    bar.close()


@pytest.mark.parametrize("known", [True, False])
def test_rich(pool, known):
    with Progress(console=Console(file=io.StringIO())) as progress:
        items = range(50) if known else iter(range(50))
        assert list(pool.map(abs, items, progress=progress)) == list(range(50))
    (task,) = progress.tasks
    assert (task.description, task.completed, task.total, task.finished) == ("abs()", 50, 50, True)


@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
def test_an_exception_of_a_progress_function_is_shown_and_loses_nothing(pool, monkeypatch, kind):
    shown, told = [], []
    monkeypatch.setattr(sys, "excepthook", lambda *args: shown.append(args))

    def note(done, total):
        told.append(done)
        raise kind("of the function's own")

    def read():  # in a thread: in the main thread, it might be Ctrl-C
        return list(pool.map(abs, range(1000), chunksize=10, progress=note))

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(read).result() == list(range(1000))
    assert [args[0] for args in shown] == [kind]
    assert len(told) == 1


def test_a_function_may_use_the_pool(pool):
    inner = []

    def note(done, total):
        if not inner:
            inner.append(list(pool.map(abs, [-1, -2])))

    assert list(pool.map(abs, range(100), progress=note)) == list(range(100))
    assert inner == [[1, 2]]


def test_invalid_arguments_are_refused(pool):
    with pytest.raises(TypeError, match=r"progress must be True, .* not int"):
        pool.map(abs, [1], progress=7)
    with pytest.raises(TypeError, match="not list"):
        owngil.track([], progress=[])


def test_without_tqdm(pool, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="pip install tqdm"):
        pool.map(abs, [1], progress=True)
    assert list(pool.map(abs, [1], progress=lambda done, total: None)) == [1]


def test_no_progress_imports_nothing(ends_cleanly):
    assert ends_cleanly("import sys, owngil; owngil.Pool(1).submit(abs, 1); print('tqdm' in sys.modules)") == "False\n"


class TestTrack:
    def test_futures_come_as_they_are_done(self, pool):
        gate = owngil.Channel()
        last = pool.submit(gate.recv)
        others = [pool.submit(abs, k) for k in range(5)]
        seen = []
        for future in owngil.track([last, *others], Bar):
            seen.append(future)
            if len(seen) == 5:
                gate.send(None)
        assert seen[-1] is last
        assert set(seen[:-1]) == set(others)
        assert (Bar.last.n, Bar.last.total, Bar.last.closed.is_set()) == (6, 6, True)

    def test_in_order(self, pool):
        gate, nearly = owngil.Channel(), threading.Event()

        def note(done, total):
            if done == total - 1:
                nearly.set()

        futures = [pool.submit(gate.recv), *[pool.submit(abs, k) for k in range(5)]]
        tracked = owngil.track(futures, note, ordered=True)
        assert nearly.wait(300)
        gate.send(None)
        assert list(tracked) == futures

    def test_of_any_executor_and_a_generator(self, pool, capsys):
        with ThreadPoolExecutor(1) as threads:
            submitted = (executor.submit(abs, -k) for k in range(3) for executor in (pool, threads))
            assert sorted(future.result() for future in owngil.track(submitted)) == [0, 0, 1, 1, 2, 2]
        assert "6/6" in capsys.readouterr().err

    def test_failed_and_cancelled_futures_count_too(self, pool):
        cancelled = Future()
        cancelled.cancel()
        cancelled.set_running_or_notify_cancel()
        futures = [pool.submit(int, "x"), cancelled, pool.submit(int, "1")]
        assert set(owngil.track([*futures, *futures], Bar)) == set(futures)
        assert Bar.last.n == 3

    @pytest.mark.parametrize("ordered", [True, False])
    def test_timeout(self, pool, ordered):
        gate = owngil.Channel()
        future = pool.submit(gate.recv)
        with pytest.raises(TimeoutError, match=r"1 \(of 1\) futures unfinished"):
            list(owngil.track([future], Bar, ordered=ordered, timeout=0.01))
        assert Bar.last.closed.is_set()
        gate.send(None)

    def test_leaving_the_loop_closes_the_bar(self, pool):
        for _ in owngil.track([pool.submit(abs, k) for k in range(3)], Bar):
            break
        assert Bar.last.closed.is_set()

    def test_only_futures(self):
        with pytest.raises(TypeError, match="takes futures"):
            owngil.track([1, 2])


@pytest.mark.filterwarnings("ignore:This process")
def test_in_a_forked_child_no_progress_is_reported_and_no_wait_hangs(ends_cleanly):
    out = ends_cleanly(
        """
        import os, warnings
        import owngil

        def read(values):
            try:
                return len(list(values))
            except owngil.BrokenPoolError:
                return "broken"

        warnings.simplefilter("ignore")
        gate, told = owngil.Channel(), []

        def note(done, total):
            told.append((done, total))

        with owngil.Pool(1) as pool:
            tracked = owngil.track([pool.submit(gate.recv) for _ in range(3)], note)
            mapped = pool.map(lambda _: gate.recv(), range(2), chunksize=1, progress=note)
            child = os.fork()
            if not child:
                print(read(tracked), read(mapped), told, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            for k in range(5):
                gate.send(k)
            print(read(tracked), read(mapped), (3, 3) in told, (2, 2) in told)
        """
    )
    assert out == "3 broken []\n3 2 True True\n"
