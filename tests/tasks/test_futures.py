"""Futures of tasks: every waiting thread gets the result, whichever way the answer takes."""

import contextlib
import os
import signal
import threading
from concurrent.futures import ALL_COMPLETED, CancelledError, Future, as_completed, wait

import pytest

import owngil
from owngil import _wire
from owngil._tasks.dispatcher import Dispatcher
from owngil._tasks.future import TaskFuture
from owngil._tasks.owner import OwnerDispatcher


class Unruly:
    """An object that the main thread cannot rebuild at the first tries, but other threads can."""

    def __init__(self, error, tries=1):
        self.error = error
        self.tries = tries

    def __reduce__(self):
        return _rebuild, (self.error, self.tries)


class Observed:
    """An object whose rebuilding first calls `_observers`."""

    def __reduce__(self):
        return _rebuild_observed, ()


_tries = []
_observers = []


def _rebuild_observed():
    for observer in _observers:
        observer()
    return "rebuilt"


def _rebuild(error, tries):
    if threading.current_thread() is threading.main_thread() and len(_tries) < tries:
        _tries.append(error)
        raise error
    return "rebuilt"


def _gate():
    return owngil.Channel()


def test_the_futures_know_all_attributes_of_this_python():
    theirs = vars(Future())
    future = TaskFuture(OwnerDispatcher(1, str), 1)
    assert isinstance(future._condition, type(theirs.pop("_condition")))
    assert {name: getattr(future, name) for name in theirs} == theirs


def test_a_result_that_is_awaited_needs_no_condition(pool):
    for _ in range(100):
        future = pool.submit(sum, range(200_000))  # not done before this thread waits
        assert future.result() == 19_999_900_000
        if future._made_condition is None:  # otherwise the collector, starting a worker, took the answer
            break
    else:
        pytest.fail("all had one")
    assert (future.done(), future.running(), future.cancelled(), future.exception()) == (True, False, False, None)
    assert future.result(0) == 19_999_900_000


def test_output_comes_before_the_result(pool, capsys):
    for k in range(200):
        pool.submit(print, k).result()
        assert capsys.readouterr().out == f"{k}\n"


@pytest.mark.parametrize("waiters", [1, 4])
def test_many_threads_wait_for_one_result(pool, waiters):
    gate = _gate()
    future = pool.submit(lambda gate: gate.recv(), gate)
    results = []
    threads = [threading.Thread(target=lambda: results.append(future.result())) for _ in range(waiters)]
    for thread in threads:
        thread.start()
    gate.send("opened")
    for thread in threads:
        thread.join()
    assert results == ["opened"] * waiters


def test_waiting_in_all_ways_at_once(pool):
    for _ in range(20):
        gate, called, results = _gate(), [], []
        futures = [pool.submit(lambda gate: gate.recv(), gate) for _ in range(4)]
        futures[1].add_done_callback(called.append)
        threads = [
            threading.Thread(target=lambda future=future, results=results: results.append(future.result()))
            for future in [*futures, *futures]
        ]
        for thread in threads:
            thread.start()
        for k in range(4):
            gate.send(k)
        assert {future.result() for future in as_completed(futures)} == set(range(4))
        assert wait(futures, return_when=ALL_COMPLETED).not_done == set()
        for thread in threads:
            thread.join()
        assert sorted(results) == [0, 0, 1, 1, 2, 2, 3, 3]
        assert called == [futures[1]]


def test_timeouts(pool):
    gate = _gate()
    future = pool.submit(lambda gate: gate.recv(), gate)
    for timeout in (0, 0.01, -1):
        with pytest.raises(TimeoutError):
            future.result(timeout)
    gate.send(5)
    assert future.result(300) == 5


def test_cancelling_wakes_waiting_threads():
    with owngil.Pool(1) as pool:
        gate = _gate()
        running = pool.submit(lambda gate: gate.recv(), gate)
        waiting = pool.submit(abs, 1)
        begun, errors = threading.Event(), []

        def wait_for_it():
            begun.set()
            try:
                waiting.result()
            except CancelledError as error:
                errors.append(error)

        thread = threading.Thread(target=wait_for_it)
        thread.start()
        begun.wait()
        assert waiting.cancel()
        thread.join()
        assert len(errors) == 1
        gate.send(1)
        running.result()


def test_a_callback_may_wait_for_another_task():
    with owngil.Pool(1) as pool:
        results = Future()

        def callback(future):
            results.set_result(future.result() + pool.submit(abs, -5).result(300))

        pool.submit(abs, -2).add_done_callback(callback)
        assert results.result(300) == 7


# In these tests, the collector may also take the answer, if it is busy with the start of a worker.


def test_the_collector_tries_an_answer_that_the_waiting_thread_cannot_rebuild(pool):
    _tries.clear()
    for _ in range(100):
        assert pool.submit(Unruly, LookupError("first"), 2).result() == "rebuilt"
        if _tries:
            break
    assert len(_tries) == 2  # the second try shows whether a signal handler raised the error


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, LookupError])
def test_a_signal_while_rebuilding_loses_nothing(pool, error, asked):
    _tries.clear()
    for _ in range(100):
        future = pool.submit(Unruly, error())
        if asked:
            future.done()  # from then on other threads may need a notification
        try:
            assert future.result() == "rebuilt"
        except error:
            break
    else:
        pytest.fail("what was raised was not seen")
    assert len(_tries) == 1
    assert future.result() == "rebuilt"
    assert pool.submit(abs, -1).result() == 1


class Insistent:
    """A task's message whose waiting threads block, and block again after another thread has checked for them."""

    def __init__(self, future):
        self._future = future
        self._message = future._message
        self.is_awaited = threading.Event()

    def __getattr__(self, name):
        return getattr(self._message, name)

    def await_answer(self, replies, future, loads, timeout):
        for _ in range(5):  # a thread spins before it blocks, until spinning has failed a few times
            with contextlib.suppress(TimeoutError):
                self._message.await_answer(replies, future, loads, 0)
        self.is_awaited.set()
        while self._future._state == "PENDING":  # done() would make a condition
            if self._message.await_answer(replies, future, loads, timeout):
                return True
        return False


def _wait_until_a_thread_waits(replies, future):
    while True:
        try:
            return future._message._message.await_answer(replies, future, None, 0)
        except TimeoutError:
            os.sched_yield()


def _wait_for_idle_collector(pool):
    """Return when the collector waits and no more answers will come to it."""
    while True:
        future = pool.submit(abs, -1)
        assert future.result() == 1
        if future._made_condition is None:  # this thread got the answer itself, so the collector waits
            return


def test_an_interrupt_after_rebuilding_leaves_no_thread_waiting(monkeypatch):
    def second_waits():
        if threading.current_thread() is threading.main_thread() and not second.ident:
            second.start()
            _wait_until_a_thread_waits(pool._dispatcher.replies, future)

    def open_gate():
        future._message.is_awaited.wait()
        _wait_until_a_thread_waits(pool._dispatcher.replies, future)
        gate.send(None)

    def interrupt(dispatcher, task):
        raise KeyboardInterrupt

    results, gate = [], _gate()
    with owngil.Pool(1) as pool:
        _wait_for_idle_collector(pool)
        future = pool.submit(lambda gate: gate.recv() or Observed(), gate)
        future._message = Insistent(future)
        second = threading.Thread(target=lambda: results.append(future.result()), daemon=True)
        opener = threading.Thread(target=open_gate, daemon=True)
        _observers.append(second_waits)
        opener.start()
        with monkeypatch.context() as patched:
            patched.setattr(Dispatcher, "forget", interrupt)
            try:
                with pytest.raises(KeyboardInterrupt):
                    future.result()
            finally:
                _observers.clear()
        second.join(300)
        assert results == ["rebuilt"]
        opener.join()
        pool._dispatcher.forget(future._task)


def test_there_is_one_condition_even_if_a_signal_handler_asks_for_it(monkeypatch):
    future = TaskFuture(OwnerDispatcher(1, str), 1)
    make_condition = threading.Condition
    called, handlers_condition = [], []

    def interrupted():
        if not handlers_condition:
            handlers_condition.append(None)
            future.add_done_callback(called.append)
            handlers_condition.append(future._condition)
        return make_condition()

    monkeypatch.setattr(threading, "Condition", interrupted)
    assert future._condition is handlers_condition[1]
    future.set_result(1)
    assert called == [future]


def test_signals_while_waiting_lose_nothing(pool):
    class Alarm(Exception):
        pass

    def ring(number, frame):
        raise Alarm

    former = signal.signal(signal.SIGALRM, ring)
    rings = 0
    try:
        for k in range(300):
            future = pool.submit(pow, k, 1)
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.00001 * (k % 30 + 1))
                    value = future.result()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Alarm:
                rings += 1
                value = future.result()
            assert value == k
    finally:
        signal.signal(signal.SIGALRM, former)
    assert rings > 0


def test_a_closed_pools_results_are_ready():
    for _ in range(10):
        pool = owngil.Pool(1)
        future = pool.submit(abs, -1)
        results = []
        thread = threading.Thread(target=lambda: results.append(future.result()))  # noqa: B023
        thread.start()
        pool.shutdown(wait=True)
        thread.join()
        assert results == [1]


def test_an_interrupt_while_the_collector_starts_leaves_one_collector(monkeypatch):
    def interrupted(thread):
        start(thread)
        monkeypatch.undo()
        raise KeyboardInterrupt

    start = threading.Thread.start
    before = set(threading.enumerate())
    pool = owngil.Pool(1)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.submit(abs, 1)
    assert pool.submit(abs, -1).result() == 1
    assert len(set(threading.enumerate()) - before) == 1
    pool.shutdown()


def test_a_signal_handler_may_run_a_task_while_its_thread_submits(ends_cleanly):
    out = ends_cleanly(
        """
        import signal
        import owngil

        pool = owngil.Pool(1)
        signal.signal(signal.SIGUSR1, lambda *_: print(pool.submit(abs, -1).result()))
        with pool._dispatcher.lock:  # as within submit()
            signal.raise_signal(signal.SIGUSR1)
        pool.shutdown()
        """
    )
    assert out == "1\n"


@pytest.mark.parametrize("step", ["forget", "cancel of the base class"])
def test_an_interrupted_cancel_leaves_no_thread_waiting(monkeypatch, step):
    def interrupt_once(*args):
        monkeypatch.undo()
        raise KeyboardInterrupt

    with owngil.Pool(1) as pool:
        gate = owngil.Channel()
        running = pool.submit(gate.recv)
        waiting = pool.submit(abs, 1)
        if step == "forget":
            monkeypatch.setattr(Dispatcher, "forget", interrupt_once)
        else:
            monkeypatch.setattr(Future, "cancel", interrupt_once)
        with pytest.raises(KeyboardInterrupt):
            waiting.cancel()
        assert waiting.cancelled()
        with pytest.raises(CancelledError):
            waiting.result(300)
        assert wait([waiting], 30).done
        gate.send(1)
        running.result()


@pytest.mark.parametrize("wait", ["result", "exception"])
def test_an_interrupt_just_after_the_answer_came_leaves_nothing_undone(pool, wait):
    class Interrupted:
        def __getattr__(self, name):
            return getattr(message, name)

        def await_answer(self, *arguments):
            threading.Timer(0.3, gate.send, ("sent",)).start()  # the answer comes here only if a thread waits
            assert message.await_answer(*arguments)
            raise KeyboardInterrupt

    called = []
    gate = _gate()
    future = pool._dispatcher.submit(_wire.dumps_call(lambda gate: gate.recv(), (gate,), {}), called.append)
    message, future._message = future._message, Interrupted()
    with pytest.raises(KeyboardInterrupt):
        getattr(future, wait)()
    assert called == [future]
    assert future not in pool._dispatcher._pending.values()
    assert (future.result(), future.exception()) == ("sent", None)


def test_an_interrupt_on_the_way_into_the_condition_does_not_leave_it_locked(pool):
    class Interrupted(threading.Condition):
        first = True

        def __enter__(self):
            entered = super().__enter__()
            if self.first:
                self.first = False
                raise KeyboardInterrupt
            return entered

    class Awaited:
        """A message for whose answer another thread waits already; further threads wait at the condition."""

        def __getattr__(self, name):
            return getattr(message, name)

        def await_answer(self, *_):
            return False

    gate = _gate()
    future = pool.submit(lambda gate: gate.recv(), gate)
    while not future.running():
        pass
    assert future._condition is not None
    future._made_condition = Interrupted()
    message, future._message = future._message, Awaited()
    with pytest.raises(KeyboardInterrupt):
        future.exception()
    results = []
    other = threading.Thread(target=lambda: results.append(future.exception()), daemon=True)
    other.start()
    other.join(300)
    assert isinstance(results[0], KeyboardInterrupt)  # Ctrl-C stops the awaited task
