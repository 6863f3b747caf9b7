"""What every executor promises; test_pool.py runs it on owngil.Pool and on ThreadPoolExecutor as the reference."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, as_completed, wait

import pytest


def identity(x: object) -> object:
    return x


def fail(x: object) -> None:
    raise LookupError(x)


class ExecutorContract:
    """Subclasses give `make`."""

    @staticmethod
    def make(max_workers: int, **options: object) -> Executor:
        raise AssertionError("a subclass says what is tested")

    @staticmethod
    def make_gate() -> tuple[Callable[..., object], tuple[object, ...], Callable[[], None]]:
        """Return a task that blocks, its arguments, and what opens the gate."""
        raise AssertionError("a subclass says what is tested")

    def test_submit_and_result(self):
        with self.make(2) as executor:
            assert executor.submit(pow, 2, 5).result() == 32
            assert executor.submit(int, "11", base=2).result() == 3

    def test_exceptions(self):
        with self.make(1) as executor:
            future = executor.submit(fail, 5)
            with pytest.raises(LookupError):
                future.result()
            assert isinstance(future.exception(), LookupError)
            assert executor.submit(identity, 1).result() == 1

    def test_map_keeps_the_order(self):
        with self.make(2) as executor:
            assert list(executor.map(pow, range(20), [2] * 30)) == [k * k for k in range(20)]
            assert list(executor.map(identity, range(20), chunksize=7)) == list(range(20))
            assert list(executor.map(identity, [])) == []

    def test_map_raises_when_it_is_reached(self):
        with self.make(2) as executor:
            results = executor.map(lambda x: 10 // x, [5, 2, 0, 1])
            assert [next(results), next(results)] == [2, 5]
            with pytest.raises(ZeroDivisionError):
                next(results)

    def test_map_times_out(self):
        with self.make(1) as executor:
            task, arguments, open_gate = self.make_gate()
            try:
                with pytest.raises(TimeoutError):
                    list(executor.map(task, *([argument] for argument in arguments), timeout=0.05))
            finally:
                open_gate()

    def test_callbacks_and_waiting(self):
        called = []
        with self.make(2) as executor:
            futures = [executor.submit(identity, k) for k in range(10)]
            for future in futures:
                future.add_done_callback(called.append)
            assert {future.result() for future in as_completed(futures, timeout=30)} == set(range(10))
            done, rest = wait(futures)
            assert (len(done), len(rest)) == (10, 0)
        assert set(called) == set(futures)

    def test_cancel_before_the_start(self):
        with self.make(1) as executor:
            task, arguments, open_gate = self.make_gate()
            running = executor.submit(task, *arguments)
            waiting = executor.submit(identity, 1)
            seen = []
            waiting.add_done_callback(lambda future: seen.append(future.cancelled()))
            assert waiting.cancel()
            assert waiting.cancel()
            assert waiting.cancelled()
            assert waiting.done()
            assert not waiting.running()
            with pytest.raises(CancelledError):
                waiting.result()
            open_gate()
            running.result()
            assert not running.cancel()
            assert wait([running, waiting], timeout=30).not_done == set()
            assert executor.submit(identity, 2).result() == 2
            assert seen == [True]

    def test_shutdown(self):
        executor = self.make(2)
        futures = [executor.submit(identity, k) for k in range(20)]
        executor.shutdown()
        executor.shutdown()
        assert [future.result(0) for future in futures] == list(range(20))
        with pytest.raises(RuntimeError):
            executor.submit(identity, 1)

    def test_shutdown_of_an_idle_executor(self):
        self.make(2).shutdown()

    def test_shutdown_may_cancel(self):
        executor = self.make(1)
        task, arguments, open_gate = self.make_gate()
        running = executor.submit(task, *arguments)
        while not running.running():
            pass
        waiting = [executor.submit(identity, k) for k in range(5)]
        executor.shutdown(wait=False, cancel_futures=True)
        open_gate()
        executor.shutdown()
        assert all(future.cancelled() for future in waiting)
        running.result()

    def test_submit_from_a_callback(self):
        with self.make(1) as executor:
            results: Future[Future[object]] = Future()
            executor.submit(identity, 1).add_done_callback(
                lambda future: results.set_result(executor.submit(identity, 2))
            )
            assert results.result(30).result(30) == 2

    def test_submit_from_many_threads(self):
        with self.make(2) as executor:
            results: list[object] = []

            def submit(k: int) -> None:
                futures = [executor.submit(identity, (k, j)) for j in range(50)]
                results.extend(future.result() for future in futures)

            threads = [threading.Thread(target=submit, args=(k,)) for k in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(results) == [(k, j) for k in range(4) for j in range(50)]

    def test_initializer(self):
        with self.make(2, initializer=identity, initargs=(1,)) as executor:
            assert executor.submit(identity, 1).result() == 1

    def test_bad_arguments(self):
        with pytest.raises(ValueError):
            self.make(0)
        with pytest.raises(ValueError):
            self.make(-1)
        with pytest.raises(TypeError):
            self.make(1, initializer=5)
