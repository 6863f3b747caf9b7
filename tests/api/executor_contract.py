"""The contract of every executor, by the documentation of concurrent.futures.

test_executors.py runs it on owngil's executors, and on the standard library's as the reference. A subclass that
deviates from a case names the case and the reason in `deviations`; the case must then fail.

Tasks wait at pipes, which work across threads and interpreters of all kinds.
"""

import asyncio
import gc
import logging
import os
import pickle
import threading
import traceback
import weakref
from collections.abc import Iterator
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    InvalidStateError,
    as_completed,
    wait,
)
from itertools import count
from typing import Any, ClassVar

import pytest
from executor_tasks import (
    enter,
    fail,
    first_fails,
    first_returns,
    identity,
    invert,
    keywords,
    leave,
    mark,
    mark_or_fail,
    stop_iteration,
)


class Gate:
    """A gate at which tasks report that they run, and wait until they may go on."""

    def __init__(self) -> None:
        self._said, self.started = os.pipe()
        self.gate, self._key = os.pipe()

    @property
    def task(self) -> tuple[Any, ...]:
        """Return the function to submit."""
        return enter, self.started, self.gate

    def wait_for_task(self) -> None:
        os.read(self._said, 1)

    def count_tasks(self) -> int:
        """Return how many tasks have reported themselves and were not waited for."""
        os.set_blocking(self._said, False)
        try:
            return len(os.read(self._said, 10_000))
        except BlockingIOError:
            return 0

    def open(self, tasks: int = 1) -> None:
        os.write(self._key, b"k" * tasks)

    def close(self) -> None:
        for fd in (self._said, self.started, self.gate, self._key):
            os.close(fd)


class Marks:
    """A place where tasks leave marks, in the order in which they run."""

    def __init__(self) -> None:
        self._out, self.fd = os.pipe()
        os.set_blocking(self._out, False)

    def read(self) -> list[int]:
        try:
            return list(os.read(self._out, 10_000))
        except BlockingIOError:
            return []

    def close(self) -> None:
        os.close(self._out)
        os.close(self.fd)


class ExecutorContract:
    """The cases. A subclass defines `make`, which makes the executor."""

    deviations: ClassVar[dict[str, str]] = {}

    @staticmethod
    def make(max_workers: int, **options: Any) -> Executor:
        raise AssertionError("a subclass says what is tested")

    @pytest.fixture
    def gate(self) -> Iterator[Gate]:
        gate = Gate()
        yield gate
        gate.close()

    @pytest.fixture
    def marks(self) -> Iterator[Marks]:
        marks = Marks()
        yield marks
        marks.close()

    @pytest.fixture(autouse=True)
    def _expect_deviations(self, request: pytest.FixtureRequest) -> None:
        reason = self.deviations.get(request.node.originalname)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(strict=True, reason=reason))

    def test_deviations_name_existing_cases(self):
        assert all(hasattr(self, name) for name in self.deviations)

    # Executor.submit

    def test_submit_returns_a_future_of_the_call(self):
        with self.make(2) as executor:
            future = executor.submit(pow, 323, 1235, 7)
            assert isinstance(future, Future)
            assert future.result() == pow(323, 1235, 7)
            assert executor.submit(int, "11", base=2).result() == 3
            assert executor.submit(identity, None).result() is None

    def test_keywords_of_any_name(self):
        names = dict.fromkeys(["self", "fn", "args", "kwargs", "timeout", "executor"], 1)
        with self.make(1) as executor:
            assert executor.submit(keywords, **names).result() == names

    def test_the_function_is_positional(self):
        with self.make(1) as executor:
            with pytest.raises(TypeError):
                executor.submit()
            with pytest.raises(TypeError):
                executor.submit(fn=identity, x=1)

    def test_an_object_that_cannot_be_called_fails_its_future(self):
        with self.make(1) as executor:
            assert isinstance(executor.submit(5).exception(), TypeError)
            assert executor.submit(identity, 1).result() == 1

    def test_one_worker_runs_in_the_order_of_submission(self, marks):
        with self.make(1) as executor:
            futures = [executor.submit(mark, k, marks.fd) for k in range(100)]
            wait(futures)
            assert marks.read() == list(range(100))

    def test_at_most_max_workers_run(self, gate):
        with self.make(2) as executor:
            futures = [executor.submit(*gate.task) for _ in range(3)]
            gate.wait_for_task()
            gate.wait_for_task()
            assert [future.running() for future in futures] == [True, True, False]
            gate.open(3)
            assert [future.result() for future in futures] == ["k"] * 3

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

    def test_submit_from_a_callback(self):
        with self.make(1) as executor:
            results: Future[Future[object]] = Future()
            executor.submit(identity, 1).add_done_callback(
                lambda future: results.set_result(executor.submit(identity, 2))
            )
            assert results.result(300).result(300) == 2

    # Exceptions

    def test_exceptions(self):
        with self.make(1) as executor:
            future = executor.submit(fail, 5)
            with pytest.raises(LookupError, match="5") as caught:
                future.result()
            assert future.exception() is caught.value
            with pytest.raises(LookupError) as again:
                future.result()
            assert again.value is caught.value
            assert executor.submit(identity, 1).result() == 1

    def test_an_exception_tells_where_it_was_raised(self):
        with self.make(1) as executor:
            text = "".join(traceback.format_exception(executor.submit(fail, 5).exception()))
            assert "executor_tasks.py" in text
            assert "in fail" in text

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_any_exception_goes_to_the_future_only(self, kind):
        with self.make(1) as executor:
            assert type(executor.submit(leave, kind).exception()) is kind
            assert executor.submit(identity, 1).result() == 1

    # Future

    def test_states(self, gate):
        with self.make(1) as executor:
            running, waiting = executor.submit(*gate.task), executor.submit(identity, 1)
            gate.wait_for_task()
            assert (running.running(), running.done(), running.cancelled()) == (True, False, False)
            assert (waiting.running(), waiting.done(), waiting.cancelled()) == (False, False, False)
            assert "running" in repr(running)
            assert "pending" in repr(waiting)
            gate.open()
            assert wait([running, waiting]).not_done == set()
            assert (running.running(), running.done(), running.cancelled()) == (False, True, False)
            assert "finished returned str" in repr(running)
            assert "finished raised LookupError" in repr(_waited(executor.submit(fail, 1)))

    def test_cancel_before_the_start(self, gate, marks):
        with self.make(1) as executor:
            running, waiting = executor.submit(*gate.task), executor.submit(mark, 1, marks.fd)
            gate.wait_for_task()
            seen = []
            waiting.add_done_callback(lambda future: seen.append(future.cancelled()))
            assert waiting.cancel()
            assert waiting.cancel()
            assert (waiting.running(), waiting.done(), waiting.cancelled()) == (False, True, True)
            for ask in (waiting.result, waiting.exception):
                with pytest.raises(CancelledError):
                    ask()
            assert not running.cancel()
            gate.open()
            assert running.result() == "k"
            assert not running.cancel()
            assert wait([running, waiting], timeout=300).not_done == set()
            assert executor.submit(identity, 2).result() == 2
            assert seen == [True]
            assert marks.read() == []

    def test_cancel_wakes_waiting_threads(self, gate):
        with self.make(1) as executor:
            running, waiting = executor.submit(*gate.task), executor.submit(identity, 1)
            outcomes: list[BaseException] = []

            def wait_for_it() -> None:
                try:
                    waiting.result()
                except CancelledError as error:
                    outcomes.append(error)

            threads = [threading.Thread(target=wait_for_it) for _ in range(3)]
            for thread in threads:
                thread.start()
            waiting.cancel()
            for thread in threads:
                thread.join()
            assert len(outcomes) == 3
            gate.open()
            running.result()

    def test_timeouts(self, gate):
        with self.make(1) as executor:
            future = executor.submit(*gate.task)
            for ask in (future.result, future.exception):
                for timeout in (0, 0.01):
                    with pytest.raises(TimeoutError):
                        ask(timeout)
            gate.open()
            assert future.result(timeout=300) == "k"
            assert future.exception(timeout=300) is None

    def test_callbacks_come_in_their_order_and_once(self, gate):
        called: list[Any] = []
        with self.make(1) as executor:
            future = executor.submit(*gate.task)
            for k in range(5):
                future.add_done_callback(lambda future, k=k: called.append((k, future.done(), future.result(0))))
            gate.open()
        assert called == [(k, True, "k") for k in range(5)]

    def test_a_callback_added_late_is_called_at_once(self):
        called: list[Any] = []
        with self.make(1) as executor:
            future = executor.submit(identity, 1)
            future.result()
            wait([future])
            future.add_done_callback(lambda future: called.append((future, threading.get_ident())))
            assert called == [(future, threading.get_ident())]

    def test_exceptions_of_callbacks_are_logged_and_ignored(self, gate, caplog):
        called: list[Any] = []
        with caplog.at_level(logging.ERROR, "concurrent.futures"), self.make(1) as executor:
            future = executor.submit(*gate.task)
            future.add_done_callback(fail)
            future.add_done_callback(called.append)
            gate.open()
            assert future.result() == "k"
            executor.shutdown()
            future.add_done_callback(fail)  # added after the end
        assert called == [future]
        assert [record.exc_info[0] for record in caplog.records] == [LookupError] * 2

    def test_a_future_is_resolved_once(self):
        with self.make(1) as executor:
            future = _waited(executor.submit(identity, 1))
            with pytest.raises(InvalidStateError):
                future.set_result(2)
            with pytest.raises(InvalidStateError):
                future.set_exception(LookupError())
            assert future.result() == 1

    def test_a_cancelled_future_tells_its_executor_not_to_run(self, gate):
        with self.make(1) as executor:
            executor.submit(*gate.task)
            gate.wait_for_task()
            future = executor.submit(identity, 1)
            assert future.cancel()
            gate.open()
            executor.shutdown()
            with pytest.raises((RuntimeError, InvalidStateError)):  # the future was notified already
                future.set_running_or_notify_cancel()

    def test_futures_cannot_be_pickled(self):
        with self.make(1) as executor:
            future = _waited(executor.submit(identity, 1))
            with pytest.raises(TypeError):
                pickle.dumps(future)

    # wait

    def test_wait_for_all(self, gate):
        with self.make(2) as executor:
            futures = [executor.submit(*gate.task), executor.submit(fail, 1), executor.submit(identity, 1)]
            assert futures[0] in wait([*futures, *futures[1:]], timeout=0.01).not_done
            gate.open()
            result = wait(futures, return_when=ALL_COMPLETED)
            assert (result.done, result.not_done) == (set(futures), set())
            assert wait(futures) == (set(futures), set())

    def test_wait_for_the_first(self, gate):
        with self.make(2) as executor:
            slow, fast = executor.submit(*gate.task), executor.submit(identity, 1)
            assert wait([slow, fast], return_when=FIRST_COMPLETED) == ({fast}, {slow})
            gate.open()
            assert wait([slow], return_when=FIRST_COMPLETED) == ({slow}, set())

    def test_wait_for_the_first_exception(self, gate):
        with self.make(2) as executor:
            slow, fine = executor.submit(*gate.task), executor.submit(identity, 1)
            wrong = executor.submit(fail, 1)
            done, rest = wait([slow, fine, wrong], return_when=FIRST_EXCEPTION)
            assert wrong in done
            assert rest == {slow}
            gate.open()
            assert wait([slow, fine], return_when=FIRST_EXCEPTION) == ({slow, fine}, set())

    def test_wait_counts_cancelled_futures_as_done(self, gate):
        with self.make(1) as executor:
            running, waiting = executor.submit(*gate.task), executor.submit(identity, 1)
            gate.wait_for_task()
            waiting.cancel()
            gate.open()
            assert wait([running, waiting], return_when=ALL_COMPLETED) == ({running, waiting}, set())

    # as_completed

    def test_as_completed_yields_each_future_once(self, gate):
        with self.make(2) as executor:
            slow = executor.submit(*gate.task)
            fast = [executor.submit(identity, k) for k in range(10)]
            first = _waited(fast[0])
            order = as_completed([slow, *fast, *fast], timeout=300)
            assert first.done()
            got = [next(order) for _ in fast]
            assert set(got) == set(fast)
            gate.open()
            assert list(order) == [slow]

    def test_as_completed_times_out(self, gate):
        with self.make(1) as executor:
            done, slow = _waited(executor.submit(identity, 1)), executor.submit(*gate.task)
            order = as_completed([slow, done], timeout=0.05)
            assert next(order) is done
            with pytest.raises(TimeoutError):
                next(order)
            gate.open()

    def test_as_completed_yields_cancelled_futures(self, gate):
        with self.make(1) as executor:
            running, waiting = executor.submit(*gate.task), executor.submit(identity, 1)
            gate.wait_for_task()
            order = as_completed([running, waiting], timeout=300)
            waiting.cancel()
            gate.open()
            assert set(order) == {running, waiting}

    def test_futures_of_two_executors_together(self):
        with self.make(1) as one, self.make(1) as other:
            futures = [executor.submit(identity, k) for k in range(5) for executor in (one, other)]
            assert {future.result() for future in as_completed(futures)} == set(range(5))

    # Executor.map

    def test_map_keeps_the_order_up_to_the_shortest(self):
        with self.make(2) as executor:
            assert list(executor.map(pow, range(20), [2] * 30)) == [k * k for k in range(20)]
            assert list(executor.map(pow, count(1), iter([2, 3]))) == [1, 8]
            assert list(executor.map(identity, range(20), chunksize=7)) == list(range(20))
            assert list(executor.map(identity, (k for k in range(50)))) == list(range(50))
            assert list(executor.map(identity, [])) == []

    def test_map_of_nothing(self):
        with self.make(1) as executor:
            assert list(executor.map(identity)) == []

    def test_map_collects_at_once(self, gate):
        taken: list[int] = []
        with self.make(1) as executor:
            executor.submit(*gate.task)
            executor.map(identity, (taken.append(k) for k in range(100)))
            gate.open()
            assert len(taken) == 100

    def test_all_calls_of_a_map_are_made(self, marks):
        with self.make(2) as executor:
            executor.map(mark, range(100), [marks.fd] * 100)
        assert sorted(marks.read()) == list(range(100))

    def test_all_calls_of_a_map_of_a_generator_are_made(self, marks):
        with self.make(2) as executor:
            executor.map(mark, (k for k in range(100)), [marks.fd] * 100)
        assert sorted(marks.read()) == list(range(100))

    def test_a_call_that_raises_ends_no_other_call(self, marks):
        with self.make(1) as executor:
            executor.map(mark_or_fail, range(1000), [marks.fd] * 1000)
        assert len(marks.read()) == 1000

    def test_chunks_make_no_difference(self, marks):
        with self.make(1) as executor:
            executor.map(mark_or_fail, range(100), [marks.fd] * 100, chunksize=10)
        assert len(marks.read()) == 100

    def test_map_submits_ahead_up_to_the_buffer_size(self):
        taken: list[int] = []

        def items() -> Iterator[int]:
            for k in count():
                taken.append(k)
                yield k

        with self.make(2) as executor:
            results = executor.map(identity, items(), buffersize=4)
            assert taken == [0, 1, 2, 3]
            assert [next(results) for _ in range(10)] == list(range(10))
            assert len(taken) == 14
            results.close()
            assert list(executor.map(identity, range(3), buffersize=10)) == [0, 1, 2]

    @pytest.mark.parametrize(("size", "error"), [("4", TypeError), (2.5, TypeError), (0, ValueError), (-1, ValueError)])
    def test_map_refuses_other_buffers(self, size, error):
        with self.make(1) as executor, pytest.raises(error, match="buffersize must"):
            executor.map(identity, [1], buffersize=size)

    def test_map_raises_when_the_failed_call_is_reached(self):
        with self.make(2) as executor:
            results = executor.map(invert, [5, 2, 0, 1])
            assert [next(results), next(results)] == [2, 5]
            with pytest.raises(ZeroDivisionError):
                next(results)
            assert list(results) == []

    def test_map_cancels_the_rest_when_a_call_raises(self, gate):
        with self.make(1) as executor:
            results = executor.map(first_fails, range(10), [gate.started] * 10, [gate.gate] * 10)
            with pytest.raises(LookupError):
                next(results)
            gate.open(10)
        assert gate.count_tasks() <= 1  # the worker may have taken the next one

    def test_closing_a_map_cancels_the_rest(self, gate):
        with self.make(1) as executor:
            results = executor.map(first_returns, range(10), [gate.started] * 10, [gate.gate] * 10)
            assert next(results) == 0
            results.close()
            gate.open(10)
        assert gate.count_tasks() <= 1

    def test_map_times_out(self, gate):
        with self.make(1) as executor:
            results = executor.map(enter, [gate.started] * 3, [gate.gate] * 3, timeout=0.05)
            gate.wait_for_task()
            with pytest.raises(TimeoutError):
                next(results)
            gate.open(3)

    def test_map_finishes_within_its_timeout(self):
        with self.make(1) as executor:
            assert list(executor.map(identity, range(3), timeout=300)) == [0, 1, 2]
            assert list(executor.map(identity, range(3), timeout=300.0)) == [0, 1, 2]

    def test_a_call_that_raises_stop_iteration_does_not_end_a_map(self):
        with self.make(1) as executor, pytest.raises(RuntimeError, match="StopIteration"):
            list(executor.map(stop_iteration, [1]))

    # Executor.shutdown and exit

    def test_shutdown_waits_for_all(self):
        executor = self.make(2)
        futures = [executor.submit(identity, k) for k in range(20)]
        executor.shutdown()
        executor.shutdown()
        assert [future.result(0) for future in futures] == list(range(20))

    def test_submit_is_refused_after_shutdown(self):
        executor = self.make(1)
        executor.submit(identity, 1)
        executor.shutdown(wait=False)
        for call in (lambda: executor.submit(identity, 1), lambda: executor.map(identity, [1])):
            with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
                call()
        executor.shutdown(wait=True)

    def test_shutdown_of_an_idle_executor(self):
        self.make(2).shutdown()

    def test_shutdown_without_waiting_finishes_queued_tasks(self, gate):
        executor = self.make(1)
        futures = [executor.submit(*gate.task) for _ in range(3)]
        executor.shutdown(wait=False)
        assert not any(future.done() for future in futures)
        gate.open(3)
        assert [future.result() for future in futures] == ["k"] * 3

    @pytest.mark.parametrize("waits", [True, False])
    def test_shutdown_may_cancel_futures(self, gate, waits):
        executor = self.make(1)
        running = executor.submit(*gate.task)
        gate.wait_for_task()
        waiting = [executor.submit(identity, k) for k in range(5)]
        gate.open()
        if not waits:
            executor.shutdown(wait=False, cancel_futures=True)
        executor.shutdown(wait=True, cancel_futures=True)
        assert running.result(0) == "k"
        assert all(future.done() for future in waiting)

    def test_shutdown_cancels_tasks_that_have_not_started(self, gate):
        executor = self.make(1)
        running = executor.submit(*gate.task)
        gate.wait_for_task()
        waiting = [executor.submit(identity, k) for k in range(5)]
        executor.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in waiting)
        assert not running.done()
        gate.open()
        executor.shutdown()
        assert running.result(0) == "k"

    def test_the_with_block_waits_and_lets_exceptions_pass(self):
        futures = []
        with pytest.raises(LookupError), self.make(1) as executor:
            assert isinstance(executor, Executor)
            futures += [executor.submit(identity, k) for k in range(10)]
            raise LookupError
        assert [future.result(0) for future in futures] == list(range(10))

    def test_a_forgotten_executor_finishes_queued_tasks(self, gate):
        executor = self.make(1)
        futures = [executor.submit(*gate.task) for _ in range(3)]
        gate.wait_for_task()
        forgotten = weakref.ref(executor)
        del executor
        gc.collect()
        assert forgotten() is None
        gate.open(3)
        assert [future.result() for future in futures] == ["k"] * 3

    def test_the_iterator_of_a_map_keeps_no_executor(self, gate):
        executor = self.make(1)
        results = executor.map(identity, range(5))
        forgotten = weakref.ref(executor)
        del executor
        gc.collect()
        assert forgotten() is None
        assert list(results) == list(range(5))

    # Workers

    def test_an_initializer_comes_first_in_each_worker(self):
        code = "import builtins; builtins.owngil_prepared = given"
        with self.make(2, initializer=exec, initargs=(code, {"given": 5})) as executor:
            assert list(executor.map(eval, ["owngil_prepared"] * 10, [{}] * 10)) == [5] * 10

    def test_a_failing_initializer_breaks_the_executor(self):
        with self.make(2, initializer=int, initargs=("no number",)) as executor:
            try:  # the initializer may fail just after submit() has returned
                futures = [executor.submit(identity, k) for k in range(5)]
            except BrokenExecutor:
                futures = []
            for future in futures:
                with pytest.raises(BrokenExecutor):
                    future.result(300)
            with pytest.raises(BrokenExecutor):
                while True:
                    executor.submit(identity, 1)
            with pytest.raises(BrokenExecutor):
                executor.map(identity, [1])

    def test_at_least_one_worker_is_required(self):
        for size in (0, -1):
            with pytest.raises(ValueError, match="max_workers"):
                self.make(size)

    def test_an_initializer_must_be_callable(self):
        with pytest.raises(TypeError):
            self.make(1, initializer=5)

    def test_a_default_number_of_workers_is_chosen(self):
        with self.make(None) as executor:
            assert executor.submit(identity, 1).result() == 1

    # With asyncio and at exit

    def test_in_asyncio(self):
        async def main() -> list[object]:
            loop = asyncio.get_running_loop()
            return await asyncio.gather(*(loop.run_in_executor(executor, identity, k) for k in range(20)))

        with self.make(2) as executor:
            assert asyncio.run(main()) == list(range(20))

    program_setup: ClassVar[str] = ""  # source that binds `executor`, of one worker

    @pytest.mark.parametrize(("end", "code"), [("", 0), ("raise LookupError", 1), ("sys.exit(3)", 3)])
    def test_the_program_ends_when_all_tasks_are_done(self, run_program, end, code):
        done = run_program(
            f"""
            import os, sys
            {self.program_setup}
            futures = [executor.submit(os.write, 1, b"x") for _ in range(50)]
            {end}
            """
        )
        assert (done.returncode, done.stdout) == (code, "x" * 50), done.stderr


def _waited(future: "Future[Any]") -> "Future[Any]":
    wait([future])
    return future
