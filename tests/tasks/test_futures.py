"""Futures of tasks: every waiting thread gets the result, whichever way the answer takes."""

import _thread
import contextlib
import os
import signal
import threading
from concurrent.futures import ALL_COMPLETED, CancelledError, Future, as_completed, wait

import pytest
from patience import wait_until

import owngil
from owngil import _wire
from owngil._tasks.dispatcher import Dispatcher
from owngil._tasks.future import TaskFuture
from owngil._tasks.owner import OwnerDispatcher


class Unruly:
    """An object whose rebuilding raises an exception, everywhere but in its worker."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return _raise, (self.error,)


class Signalled:
    """An object whose first rebuilding in the main thread raises SIGUSR1."""

    def __reduce__(self):
        return _rebuild_signalled, ()


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


def _raise(error):
    _tries.append(error)
    raise error


def _rebuild_signalled():
    if threading.current_thread() is threading.main_thread() and not _tries:
        _tries.append(None)
        signal.raise_signal(signal.SIGUSR1)
    return "rebuilt"


def _gate():
    return owngil.Channel()


def test_the_futures_know_all_attributes_of_this_python():
    future = TaskFuture(OwnerDispatcher(1, str), 1)
    assert [name for name in vars(Future()) if not hasattr(future, name)] == []


def test_all_ways_to_look_at_a_result(pool):
    future = pool.submit(sum, range(200_000))  # not done before this thread waits
    assert future.result() == 19_999_900_000
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


@pytest.mark.parametrize("error", [LookupError("a"), KeyError("b"), MemoryError("c"), RecursionError("d")])
@pytest.mark.parametrize("way", ["result", "exception", "wait", "callback"])
def test_an_answer_that_cannot_be_rebuilt_is_rebuilt_once(pool, error, way):
    _tries.clear()
    future = pool.submit(Unruly, error)
    if way == "wait":
        assert wait([future], 300).done
    elif way == "callback":
        called = threading.Event()
        future.add_done_callback(lambda _: called.set())
        assert called.wait(300)
    if way != "result":
        assert type(future.exception(300)) is type(error)
    with pytest.raises(type(error)):
        future.result(300)
    assert type(future.exception(300)) is type(error)
    # A thread that has little stack leaves the answer to the collector.
    assert len(_tries) == 1 or isinstance(error, RecursionError)


class Frozen(Exception):
    """An exception that takes no notes."""

    def __setattr__(self, name, value):
        raise AttributeError(name)

    def __reduce__(self):
        return Frozen, ()


class Lying(Exception):
    def __setstate__(self, state):
        raise SystemExit("lied")


def _fail_with(kind):
    error = kind()
    error.__dict__["state"] = "to set"
    raise error


@pytest.mark.parametrize("way", ["result", "wait", "map"])
def test_an_exception_that_takes_no_attributes_arrives(pool, way):
    if way == "map":
        with pytest.raises(Frozen) as caught:
            list(pool.map(_fail_with, [Frozen]))
    else:
        future = pool.submit(_fail_with, Frozen)
        if way == "wait":
            assert wait([future], 300).done
        with pytest.raises(Frozen) as caught:
            future.result(300)
    assert "_fail_with" in str(caught.value.__cause__)


@pytest.mark.parametrize("error", [Frozen(), SystemExit(3), KeyboardInterrupt()])
def test_whatever_rebuilding_in_the_collector_raises_resolves_the_future(pool, error):
    _tries.clear()
    future = pool.submit(Unruly, error)
    assert wait([future], 300).done
    assert type(future.exception(0)) is type(error)
    assert len(_tries) == 1


@pytest.mark.parametrize("kind", [GeneratorExit, SystemExit, LookupError])
def test_whatever_rebuilding_in_a_worker_raises_resolves_the_future(kind):
    def call():
        with owngil.Pool(1) as pool:
            future = pool.submit(Unruly, kind())
            try:
                future.result(300)
            except kind:
                return future.done(), pool.submit(abs, -1).result(300)

    with owngil.Interpreter() as it:
        assert it.call(call) == (True, 1)


def test_an_exception_that_cannot_be_rebuilt_resolves_the_future(pool):
    future = pool.submit(_fail_with, Lying)
    assert wait([future], 300).done
    assert isinstance(future.exception(0), BaseException)
    assert pool.submit(abs, -1).result(300) == 1


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, LookupError])
def test_a_signal_while_rebuilding_loses_nothing(pool, error, asked):
    def handler(*_):
        raise error

    _tries.clear()
    former = signal.signal(signal.SIGUSR1, handler)
    try:
        for _ in range(100):
            future = pool.submit(Signalled)
            if asked:
                future.done()
            try:
                assert future.result() == "rebuilt"  # by the collector, if it was busy with the start of a worker
            except error:
                break
        else:
            pytest.fail("what was raised was not seen")
    finally:
        signal.signal(signal.SIGUSR1, former)
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

    def await_answer(self, replies, future, rebuild, timeout):
        for _ in range(5):  # a thread spins before it blocks, until spinning has failed a few times
            with contextlib.suppress(TimeoutError):
                self._message.await_answer(replies, future, rebuild, 0)
        self.is_awaited.set()
        while not self._future.done():
            if self._message.await_answer(replies, future, rebuild, timeout):
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
    rebuilding = []
    _observers.append(lambda: rebuilding.append(threading.get_ident()))
    try:
        while rebuilding[-1:] != [threading.get_ident()]:  # until this thread gets the answer itself
            assert pool.submit(Observed).result() == "rebuilt"
    finally:
        _observers.clear()


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
        patched.undo()
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
    def interrupted(*arguments):
        start(*arguments)
        monkeypatch.undo()
        raise KeyboardInterrupt

    start = _thread.start_new_thread
    before = set(threading.enumerate())
    pool = owngil.Pool(1)
    monkeypatch.setattr(_thread, "start_new_thread", interrupted)
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


@pytest.mark.parametrize("step", ["forget", "_tell_waiters", "_call"])
def test_an_interrupted_cancel_leaves_no_thread_waiting(monkeypatch, step):
    def interrupt_once(*args):
        monkeypatch.undo()
        raise KeyboardInterrupt

    def wait_for_it():
        with pytest.raises(CancelledError):
            waiting.result(300)
        ended.append(wait([waiting], 300).done)

    with owngil.Pool(1) as pool:
        gate = owngil.Channel()
        running = pool.submit(gate.recv)
        waiting = pool.submit(abs, 1)
        called, ended = [], []
        waiting.add_done_callback(called.append)
        threads = [threading.Thread(target=wait_for_it) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: waiting._waiting)
        monkeypatch.setattr(Dispatcher if step == "forget" else TaskFuture, step, interrupt_once)
        with pytest.raises(KeyboardInterrupt):
            waiting.cancel()
        assert waiting.cancelled()
        for thread in threads:
            thread.join(300)
        assert (ended, called) == ([{waiting}] * 2, [waiting])
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
