import os
import signal
import sys
import threading

import pytest

import owngil
from owngil import _wire
from owngil._tasks.broadcast import results_of_each
from owngil._tasks.future import TaskFuture


def own_id():
    import threading

    return threading.get_ident()


def test_a_broadcast_runs_once_in_every_worker():
    with owngil.Pool(3, thread_name_prefix="w") as pool:
        names = pool.broadcast(lambda: __import__("threading").current_thread().name)
        assert names == ["w-0", "w-1", "w-2"]
        first = pool.broadcast(own_id)
        assert len(set(first)) == 3
        assert pool.broadcast(own_id) == first


def test_state_holds_for_all_later_tasks():
    def set_state(value, *, twice):
        import builtins

        builtins.state = value * (2 if twice else 1)

    with owngil.Pool(3) as pool:
        assert pool.submit(abs, -1).result() == 1
        pool.broadcast(set_state, 4, twice=True)
        assert list(pool.map(lambda _: state, range(200), chunksize=1)) == [8] * 200  # noqa: F821


def test_a_broadcast_runs_before_queued_tasks():
    order, gate = owngil.Channel(), owngil.Channel()

    def task(what, order):
        order.send(what)

    with owngil.Pool(1) as pool:
        blocking = pool.submit(gate.recv, 300)
        while not blocking.running():
            pass
        for _ in range(3):
            pool.submit(task, "queued", order)
        caller = threading.Thread(target=pool.broadcast, args=(task, "broadcast", order))
        caller.start()
        while not pool._dispatcher._addressed:
            pass
        gate.send(None)
        caller.join()
        assert [order.recv(300) for _ in range(4)] == ["broadcast"] + ["queued"] * 3


def test_a_broadcast_cancelled_while_its_worker_is_replaced_leaves_nothing():
    gate, cancelled = owngil.Channel(), threading.Event()
    with owngil.Pool(1, max_tasks_per_child=1) as pool:
        dispatcher = pool._dispatcher
        blocking = pool.submit(gate.recv, 300)
        while not blocking.running():
            pass
        [future] = dispatcher.submit_to_each(_wire.dumps_call(abs, (-1,), {}))
        start = dispatcher.start_worker

        def start_and_cancel():
            heir = start()
            future.cancel()
            cancelled.set()
            return heir

        dispatcher.start_worker = start_and_cancel
        gate.send(None)
        assert cancelled.wait(300)
    # A call left for it would give each worker a successor, for ever.
    assert dispatcher._addressed == {}
    assert future.cancelled()


def test_a_failure_while_sending_leaves_running_calls_alone(monkeypatch):
    started, gate, errors = owngil.Channel(), owngil.Channel(), []

    def task(started, gate):
        started.send(None)
        gate.recv(300)

    class Failing:
        count = 0

        def __getattr__(self, name):
            return getattr(tasks, name)

        def put_for(self, *arguments):
            self.count += 1
            if self.count == 2:
                started.recv(300)
                raise MemoryError
            return tasks.put_for(*arguments)

    monkeypatch.setattr(sys, "excepthook", lambda *error: errors.append(error))
    with owngil.Pool(2) as pool:
        pool.broadcast(abs, -1)
        dispatcher = pool._dispatcher
        tasks = dispatcher.tasks
        dispatcher.tasks = Failing()
        with pytest.raises(MemoryError):
            pool.broadcast(task, started, gate)
        dispatcher.tasks = tasks
        gate.send(None)
    assert errors == []
    assert dispatcher._addressed == {}


def test_an_exception_is_raised_when_all_have_ended():
    ran = owngil.Counter()
    barrier = owngil.Barrier(3)

    def fail(barrier):
        number = barrier.wait(300)
        ran.add()
        if number != 0:
            raise LookupError(number)

    with owngil.Pool(3) as pool:
        for _ in range(10):
            with pytest.raises(LookupError):
                pool.broadcast(fail, barrier)
        assert ran.value == 30
        assert pool.broadcast(abs, -1) == [1, 1, 1]


def test_arguments_that_cannot_be_sent_are_refused():
    with owngil.Pool(2) as pool:
        with pytest.raises(TypeError, match="lock"):
            pool.broadcast(abs, threading.Lock())
        assert pool.broadcast(abs, -1) == [1, 1]


def test_a_broadcast_while_other_threads_submit():
    with owngil.Pool(3) as pool:
        stop = threading.Event()
        done = []

        def submit():
            while not stop.is_set():
                done.append(list(pool.map(abs, range(20), chunksize=1)))

        threads = [threading.Thread(target=submit) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for k in range(100):
                assert pool.broadcast(abs, -k) == [k] * 3
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert done
        assert all(result == list(range(20)) for result in done)


def test_several_broadcasts_at_once():
    with owngil.Pool(2) as pool:
        results = []

        def call(k):
            results.append((k, pool.broadcast(abs, -k)))

        threads = [threading.Thread(target=call, args=(k,)) for k in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [(k, [k, k]) for k in range(20)]


@pytest.mark.parametrize("max_tasks", [1, 2, 3])
def test_workers_that_are_replaced_meanwhile(max_tasks):
    """A worker that ends before it takes the call leaves the call to its successor."""
    with owngil.Pool(2, max_tasks_per_child=max_tasks) as pool:
        for k in range(5):
            futures = [pool.submit(abs, -j) for j in range(3)]
            assert pool.broadcast(abs, -k) == [k, k]
            assert [future.result() for future in futures] == [0, 1, 2]


def test_a_broadcast_of_a_closed_pool_is_refused():
    pool = owngil.Pool(2)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="closed"):
        pool.broadcast(abs, 1)


def test_shutdown_while_a_broadcast_is_under_way():
    gate, started, results = owngil.Channel(), owngil.Channel(), []

    def wait(gate, started):
        started.send(None)
        return gate.recv(300)

    pool = owngil.Pool(2)
    caller = threading.Thread(target=lambda: results.append(pool.broadcast(wait, gate, started)))
    caller.start()
    for _ in range(2):
        started.recv(300)
    pool.shutdown(wait=False, cancel_futures=True)
    for _ in range(2):
        gate.send("done")
    pool.shutdown()
    caller.join()
    assert results == [["done", "done"]]


def test_shutdown_may_cancel_futures():
    gate, errors = owngil.Channel(), []
    pool = owngil.Pool(1)
    running = pool.submit(gate.recv, 300)
    while not running.running():
        pass

    def call():
        try:
            pool.broadcast(abs, 1)
        except BaseException as error:
            errors.append(type(error).__name__)

    caller = threading.Thread(target=call)
    caller.start()
    while not pool._dispatcher._addressed:
        pass
    pool.shutdown(wait=False, cancel_futures=True)
    caller.join()
    gate.send(5)
    pool.shutdown()
    assert (errors, running.result()) == (["CancelledError"], 5)
    assert not pool._dispatcher._addressed


def test_a_broadcast_in_a_callback():
    seen = owngil.Channel()
    with owngil.Pool(2) as pool:
        pool.submit(abs, 1).add_done_callback(lambda future: seen.send(pool.broadcast(abs, -2)))
        assert seen.recv(300) == [2, 2]


def test_a_broadcast_of_a_broken_pool():
    def refuse():
        raise OSError("no licence")

    with owngil.Pool(2, initializer=refuse) as pool:
        for _ in range(2):
            with pytest.raises(owngil.BrokenPoolError, match="no licence"):
                pool.broadcast(abs, 1)


def test_ctrl_c_interrupts_a_broadcast_in_all_workers():
    started, ended = owngil.Channel(), owngil.Channel()

    def spin(started, ended):
        started.send(None)
        try:
            while True:
                pass
        except KeyboardInterrupt:
            ended.send(None)
            raise

    def press():
        for _ in range(2):
            started.recv(300)
        os.kill(os.getpid(), signal.SIGINT)

    with owngil.Pool(2) as pool:
        presser = threading.Thread(target=press)
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            pool.broadcast(spin, started, ended)
        presser.join()
        for _ in range(2):
            ended.recv(300)
        assert pool.broadcast(abs, -1) == [1, 1]


class TestPreload:
    def test_modules_are_there_before_the_first_task(self):
        def loaded():
            import sys

            return "colorsys" in sys.modules and "xml.dom.minidom" in sys.modules

        seen = []

        def prepare():
            import builtins

            builtins.seen_by_initializer = loaded()

        with owngil.Pool(2, preload=["colorsys", "xml.dom.minidom"], initializer=prepare) as pool:
            assert pool.broadcast(loaded) == [True, True]
            assert pool.broadcast(lambda: seen_by_initializer) == [True, True]  # noqa: F821
        assert seen == []

    def test_all_workers_start_at_once(self):
        with owngil.Pool(3, preload=["colorsys"]) as pool:
            assert len(pool._dispatcher.workers.alive) == 3

    def test_a_module_that_cannot_be_imported_breaks_the_pool(self, tmp_path, monkeypatch):
        with owngil.Pool(1, preload=["math", "no_such_module"], thread_name_prefix="crunch") as pool:
            with pytest.raises(
                owngil.BrokenPoolError,
                match=r"'no_such_module' cannot be preloaded in worker 'crunch-0': ModuleNotFound",
            ):
                pool.submit(abs, 1).result(300)
            with pytest.raises(owngil.BrokenPoolError, match="no_such_module"):
                pool.submit(abs, 1).result(300)

    def test_a_module_that_exits_breaks_the_pool_too(self, tmp_path, monkeypatch):
        (tmp_path / "owngil_test_exits.py").write_text("import sys; sys.exit('not today')")
        monkeypatch.syspath_prepend(tmp_path)
        with owngil.Pool(1, preload=["owngil_test_exits"]) as pool:
            with pytest.raises(owngil.BrokenPoolError, match="SystemExit: not today"):
                pool.submit(abs, 1).result(300)

    def test_recycled_workers_preload_too(self):
        with owngil.Pool(1, preload=["colorsys"], max_tasks_per_child=1) as pool:
            results = [pool.submit(lambda: "colorsys" in __import__("sys").modules).result() for _ in range(3)]
        assert results == [True] * 3

    def test_names_of_a_generator(self):
        with owngil.Pool(1, preload=(name for name in ["colorsys"])) as pool:
            assert pool.submit(lambda: "colorsys" in __import__("sys").modules).result()

    @pytest.mark.parametrize("preload", ["numpy", [5], None, 5])
    def test_invalid_names_are_refused(self, preload):
        with pytest.raises(TypeError, match="sequence of module names"):
            owngil.Pool(1, preload=preload)


def test_interrupting_the_wait_for_a_broadcast_stops_calls_that_have_not_begun(monkeypatch):
    def hold(first, second):
        (first if threading.current_thread().name.endswith("-0") else second).recv()

    def spin(started, ended):
        started.send(None)
        try:
            while True:
                pass
        except KeyboardInterrupt:
            ended.send("interrupted")

    result = TaskFuture.result

    def interrupted(future, timeout=None):
        if future is not futures[0]:
            return result(future, 300)
        future.stop()
        raise KeyboardInterrupt

    first, second, started, ended = (owngil.Channel() for _ in range(4))
    with owngil.Pool(2) as pool:
        held = pool._dispatcher.submit_to_each(_wire.dumps_call(hold, (first, second), {}))
        while not all(future.running() for future in held):
            pass
        futures = pool._dispatcher.submit_to_each(_wire.dumps_call(spin, (started, ended), {}))
        second.send(None)
        started.recv(300)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(TaskFuture, "result", interrupted)
            results_of_each(futures)
        assert ended.recv(300) == "interrupted"
        assert futures[0].cancelled()
        first.send(None)
        assert pool.broadcast(abs, -1) == [1, 1]
