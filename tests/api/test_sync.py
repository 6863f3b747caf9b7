"""Locks, semaphores, events, barriers and counters: first the behaviour of `threading`, then across interpreters."""

import contextlib
import gc
import operator
import pickle
import threading
import time

import pytest

import owngil


@pytest.fixture(params=[owngil, threading], ids=["owngil", "threading"])
def module(request):
    """The module whose classes are tested: threading's tests must hold for owngil's classes too."""
    return request.param


@pytest.fixture(scope="module")
def four():
    with owngil.Pool(4) as pool:
        yield pool


def until(condition):
    """Poll a condition that no event announces, such as a thread asleep in a wait."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def waiting(thing, count):
    """Return whether `count` threads wait for `thing`."""
    if isinstance(thing, owngil.Barrier):
        return thing.n_waiting == count
    return f"{count} waiting" in repr(thing)


def in_thread(fn, *args):
    """Start a thread whose `outcome` is the result or the exception of `fn`."""

    def run():
        try:
            thread.outcome = fn(*args)
        except BaseException as error:
            thread.outcome = type(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def outcomes(threads):
    for thread in threads:
        thread.join(300)
    return [thread.outcome for thread in threads]


# Behaviour as in threading.


def test_lock(module):
    lock = module.Lock()
    assert not lock.locked()
    assert lock.acquire()
    assert lock.locked()
    assert not lock.acquire(False)
    assert not lock.acquire(blocking=False)
    assert not lock.acquire(True, 0.01)
    assert not lock.acquire(timeout=0.01)
    assert not lock.acquire(timeout=0)
    assert outcomes([in_thread(lock.release)]) == [None]
    with lock as got:
        assert got is True
        assert lock.locked()
    assert lock.acquire(timeout=-1)
    lock.release()
    with pytest.raises(ZeroDivisionError):
        with lock:
            raise ZeroDivisionError
    assert not lock.locked()


def test_wrong_use_of_a_lock(module):
    lock = module.Lock()
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lock.release()
    with pytest.raises(ValueError):
        lock.acquire(False, 1)
    with pytest.raises(ValueError):
        lock.acquire(True, -2)
    with pytest.raises(ValueError):
        lock.acquire(timeout=float("nan"))
    for bad in [("x", "y", "z"), (True, "soon")]:
        with pytest.raises(TypeError):
            lock.acquire(*bad)
    for bad in [{"time": 1}, {"timeout": 1, "blokking": True}]:
        with pytest.raises(TypeError):
            lock.acquire(**bad)
    with pytest.raises(TypeError):
        lock.acquire(True, blocking=True)
    with pytest.raises(TypeError):
        module.Lock(1)
    assert not lock.locked()


def test_semaphore(module):
    semaphore = module.Semaphore(2)
    assert semaphore.acquire()
    with semaphore:
        assert not semaphore.acquire(False)
        assert not semaphore.acquire(timeout=0.01)
        assert not semaphore.acquire(timeout=-1)  # for a semaphore, a timeout that has passed
    semaphore.release()
    semaphore.release(3)
    assert all(semaphore.acquire(blocking=False) for _ in range(5))
    assert not semaphore.acquire(False)
    assert module.Semaphore().acquire(False)
    assert not module.Semaphore(value=0).acquire(False)
    for bad in (0, -1):
        with pytest.raises(ValueError):
            semaphore.release(bad)
    with pytest.raises(ValueError):
        module.Semaphore(-1)
    with pytest.raises(ValueError):
        semaphore.acquire(False, timeout=1)
    with pytest.raises(TypeError):
        module.Semaphore("1")


def test_bounded_semaphore(module):
    semaphore = module.BoundedSemaphore(2)
    with pytest.raises(ValueError):
        semaphore.release()
    semaphore.acquire()
    with pytest.raises(ValueError):
        semaphore.release(2)
    semaphore.release(n=1)
    assert [semaphore.acquire(False) for _ in range(3)] == [True, True, False]
    with pytest.raises(ValueError):
        module.BoundedSemaphore(-1)


def test_event(module):
    event = module.Event()
    assert not event.is_set()
    assert not event.wait(0)
    assert not event.wait(-1)
    assert not event.wait(timeout=0.01)
    threads = [in_thread(event.wait) for _ in range(3)]
    event.set()
    assert outcomes(threads) == [True] * 3
    assert event.wait()
    event.set()
    assert event.is_set()
    event.clear()
    assert not event.wait(0.01)


def test_barrier(module):
    calls = []
    barrier = module.Barrier(3, lambda: calls.append(barrier.n_waiting))
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)
    for _ in range(10):
        assert sorted(outcomes([in_thread(barrier.wait) for _ in range(3)])) == [0, 1, 2]
    assert len(calls) == 10
    assert not barrier.broken
    assert module.Barrier(parties=1).wait() == 0


def test_a_barrier_breaks_when_the_time_is_over(module):
    barrier = module.Barrier(3, timeout=300)
    thread = in_thread(barrier.wait)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.01)
    assert outcomes([thread]) == [threading.BrokenBarrierError]
    assert barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken
    assert sorted(outcomes([in_thread(barrier.wait) for _ in range(3)])) == [0, 1, 2]
    with pytest.raises(threading.BrokenBarrierError):
        module.Barrier(2, timeout=0.01).wait()


def test_a_barrier_is_aborted_or_reset(module):
    barrier = module.Barrier(3)
    for end, broken in [(barrier.reset, False), (barrier.abort, True), (barrier.reset, False)]:
        threads = [in_thread(barrier.wait) for _ in range(2)]
        until(lambda: barrier.n_waiting == 2 or barrier.broken)
        end()
        assert outcomes(threads) == [threading.BrokenBarrierError] * 2
        assert barrier.broken is broken


def test_a_barrier_breaks_when_the_action_fails(module):
    barrier = module.Barrier(2, lambda: 1 / 0)
    threads = [in_thread(barrier.wait) for _ in range(2)]
    assert set(outcomes(threads)) == {ZeroDivisionError, threading.BrokenBarrierError}
    assert barrier.broken


# Features that threading does not have.


def test_counter():
    counter = owngil.Counter()
    assert counter.value == 0
    assert [counter.add(), counter.add(5), counter.add(n=-7)] == [1, 6, -1]
    assert counter.exchange(10) == -1
    assert not counter.compare_exchange(9, 1)
    assert counter.compare_exchange(10, 1)
    assert counter.value == 1
    assert owngil.Counter(-(2**63)).value == -(2**63)
    assert owngil.Counter(value=2**63 - 1).value == 2**63 - 1
    assert repr(owngil.Counter(3)) == "<owngil.Counter value=3>"


def test_wrong_use_of_a_counter():
    counter = owngil.Counter(2**63 - 1)
    for call in [
        lambda: owngil.Counter(2**63),
        lambda: owngil.Counter(-(2**63) - 1),
        lambda: counter.add(),
        lambda: counter.add(2**63),
        lambda: owngil.Counter(-1).add(-(2**63)),
        lambda: counter.exchange(2**64),
        lambda: counter.compare_exchange(2**63 - 1, 2**63),
    ]:
        with pytest.raises(OverflowError):
            call()
    for call in [
        lambda: owngil.Counter("1"),
        lambda: owngil.Counter(1.5),
        lambda: counter.add(0.5),
        lambda: counter.add(1, 2),
        lambda: counter.add(m=1),
        lambda: counter.exchange(None),
        lambda: counter.compare_exchange(1),
    ]:
        with pytest.raises(TypeError):
            call()
    with pytest.raises(AttributeError):
        counter.value = 1
    assert counter.value == 2**63 - 1


def test_limits_of_semaphores():
    most = 2**62 - 1
    semaphore = owngil.Semaphore(most)
    with pytest.raises(OverflowError):
        semaphore.release()
    for bad in (2**62, 2**64):
        with pytest.raises(OverflowError):
            owngil.Semaphore(bad)
        with pytest.raises(OverflowError):
            semaphore.release(bad)
    with pytest.raises(ValueError):
        owngil.Semaphore(-(2**70))
    with pytest.raises(TypeError):
        semaphore.release(1.5)
    assert repr(semaphore) == f"<owngil.Semaphore value={most}, 0 waiting>"
    assert not owngil.BoundedSemaphore(0).acquire(False)


def test_none_is_no_timeout():
    lock = owngil.Lock()
    assert lock.acquire(timeout=None)
    assert not lock.acquire(False, None)
    assert owngil.Semaphore().acquire(timeout=None)
    with pytest.raises(ValueError):
        owngil.Barrier(0)


MAKERS = [
    owngil.Lock,
    lambda: owngil.Semaphore(1),
    lambda: owngil.BoundedSemaphore(1),
    owngil.Event,
    lambda: owngil.Barrier(2),
    owngil.Counter,
]
KINDS = ["Lock", "Semaphore", "BoundedSemaphore", "Event", "Barrier", "Counter"]
all_kinds = pytest.mark.parametrize("make", MAKERS, ids=KINDS)


@all_kinds
def test_an_object_stays_the_same_however_it_is_sent(make, pool):
    thing = make()
    channel = owngil.Channel()
    there = pool.submit(lambda argument: (argument, thing, argument == thing, hash(argument) == hash(thing)), thing)
    argument, free_variable, equal, same_hash = there.result()
    assert equal
    assert same_hash
    channel.send([thing, thing])
    received, again = channel.recv()
    assert received is again
    for copy in (argument, free_variable, received):
        assert type(copy) is type(thing)
        assert copy == thing
        assert hash(copy) == hash(thing)
        assert repr(copy) == repr(thing)
    assert thing != make()
    assert thing != 1
    with pytest.raises(TypeError):
        operator.lt(thing, thing)


@all_kinds
def test_workers_have_the_same_class_under_the_same_name(make, interpreter):
    thing = make()
    name = interpreter.call(lambda thing: f"{type(thing).__module__}.{type(thing).__qualname__}", thing)
    assert name.endswith(type(thing).__name__)
    assert interpreter.call(lambda kind, thing: kind is type(thing), type(thing), thing)


@all_kinds
def test_objects_belong_to_their_process(make):
    with pytest.raises(TypeError, match="belongs to this process"):
        pickle.dumps(make())


@all_kinds
def test_classes_are_final_and_instances_have_no_dict(make):
    with pytest.raises(AttributeError):
        make().colour = "red"


def test_an_object_outlives_the_interpreter_that_made_it():
    with owngil.Interpreter() as it:

        def make():
            import owngil

            lock, counter = owngil.Lock(), owngil.Counter(5)
            lock.acquire()
            return lock, counter

        lock, counter = it.call(make)
    assert counter.add() == 6
    assert lock.locked()  # the end of an interpreter does not release its locks
    assert not lock.acquire(timeout=0.01)
    lock.release()
    assert lock.acquire(False)


def test_a_lock_protects_operations_that_are_not_atomic(four):
    lock, number = owngil.Lock(), owngil.Counter()

    def increase(times):
        for _ in range(times):
            with lock:
                number.exchange(number.value + 1)

    for future in [four.submit(increase, 3000) for _ in range(4)]:
        future.result()
    assert number.value == 12000
    assert waiting(lock, 0)
    assert not lock.locked()


def test_a_lock_between_threads_of_many_interpreters(four):
    lock, number = owngil.Lock(), owngil.Counter()

    def increase(times):
        import threading

        def run():
            for _ in range(times):
                with lock:
                    number.exchange(number.value + 1)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    futures = [four.submit(increase, 300) for _ in range(4)]
    increase(300)
    for future in futures:
        future.result()
    assert number.value == 5 * 3 * 300


def test_counting_is_atomic(four):
    counter, swaps = owngil.Counter(), owngil.Counter()

    def count(times):
        for _ in range(times):
            counter.add()
        for _ in range(times):
            while not swaps.compare_exchange(seen := swaps.value, seen + 1):
                pass
        return times

    assert sum(four.map(count, [10_000] * 8, chunksize=1)) == 80_000
    assert (counter.value, swaps.value) == (80_000, 80_000)


def test_permits_and_timeouts_of_many_waiters(four):
    """A waiter that gives up just when it is served does not lose a permit."""
    semaphore, inside, most, got = owngil.Semaphore(2), owngil.Counter(), owngil.Counter(), owngil.Counter()

    def use(times):
        for k in range(times):
            if semaphore.acquire(timeout=(k % 7) * 1e-5):
                now = inside.add()
                while (before := most.value) < now and not most.compare_exchange(before, now):
                    pass
                got.add()
                inside.add(-1)
                semaphore.release()

    for future in [four.submit(use, 3000) for _ in range(4)]:
        future.result()
    assert inside.value == 0
    assert most.value <= 2
    assert got.value > 0
    assert repr(semaphore) == "<owngil.Semaphore value=2, 0 waiting>"


def test_many_permits_wake_many(four):
    semaphore = owngil.Semaphore(0)
    futures = [four.submit(lambda: semaphore.acquire(timeout=300)) for _ in range(4)]
    until(lambda: waiting(semaphore, 4))
    semaphore.release(5)
    assert [future.result() for future in futures] == [True] * 4
    assert repr(semaphore) == "<owngil.Semaphore value=1, 0 waiting>"


def test_barriers_keep_workers_in_step(four):
    rounds = owngil.Counter()
    before, after = owngil.Barrier(4, rounds.add, timeout=300), owngil.Barrier(4, timeout=300)

    def step(times):
        numbers = []
        for k in range(times):
            numbers.append(before.wait())
            assert rounds.value == k + 1
            after.wait()
        return numbers

    results = [future.result() for future in [four.submit(step, 100) for _ in range(4)]]
    assert all(sorted(numbers) == [0, 1, 2, 3] for numbers in zip(*results, strict=True))


def test_the_action_runs_in_the_interpreter_of_the_last_to_arrive(interpreter):
    """The action travels with the barrier by value, as functions do, so it changes its own interpreter's globals."""
    calls = []
    barrier = owngil.Barrier(2, lambda: calls.append(1), timeout=300)
    future = interpreter.submit(barrier.wait)
    until(lambda: waiting(barrier, 1))
    assert barrier.wait() == 1
    assert future.result() == 0
    assert calls == [1]
    thread = in_thread(barrier.wait)
    until(lambda: waiting(barrier, 1))
    assert interpreter.call(barrier.wait) == 1
    assert outcomes([thread]) == [0]
    assert calls == [1]


def test_a_thread_that_arrives_during_the_action_joins_the_next_round():
    running, go = threading.Event(), threading.Event()

    def action():
        running.set()
        go.wait(300)

    barrier = owngil.Barrier(2, action)
    first = [in_thread(barrier.wait) for _ in range(2)]
    running.wait(300)
    late = in_thread(barrier.wait)
    assert barrier.n_waiting == 2
    go.set()
    assert sorted(outcomes(first)) == [0, 1]
    until(lambda: waiting(barrier, 1))
    assert barrier.wait() == 1
    assert outcomes([late]) == [0]


@pytest.mark.parametrize("end", ["reset", "abort", "timeout"])
def test_a_barrier_that_breaks_during_the_action(end):
    running, go = threading.Event(), threading.Event()

    def action():
        running.set()
        go.wait(300)

    barrier = owngil.Barrier(2, action)
    patient = in_thread(barrier.wait, 0.2 if end == "timeout" else None)
    until(lambda: waiting(barrier, 1))
    last = in_thread(barrier.wait)
    running.wait(300)
    if end != "timeout":
        getattr(barrier, end)()
    assert outcomes([patient]) == [threading.BrokenBarrierError]
    go.set()
    assert outcomes([last]) == [threading.BrokenBarrierError]
    assert barrier.broken is (end != "reset")
    barrier.reset()
    assert sorted(outcomes([in_thread(barrier.wait) for _ in range(2)])) == [0, 1]


def test_an_event_wakes_all_interpreters(four):
    event, woken = owngil.Event(), owngil.Counter()

    def wait():
        assert event.wait(300)
        woken.add()

    for k in range(1, 20):
        futures = [four.submit(wait) for _ in range(4)]
        until(lambda: waiting(event, 4))
        event.set()
        event.clear()  # the waiters go on all the same
        for future in futures:
            future.result()
        assert woken.value == 4 * k
        assert not event.is_set()


# Order.


def test_first_come_first_served(four):
    lock, order = owngil.Lock(), owngil.Channel()

    def queue_up(k):
        with lock:
            order.send(k)

    with lock:
        futures = []
        for k in range(4):
            futures.append(four.submit(queue_up, k))
            until(lambda k=k: waiting(lock, k + 1))
    for future in futures:
        future.result()
    assert [order.recv(0) for _ in range(4)] == list(range(4))


def test_a_waiter_that_gives_up_leaves_the_line(four):
    semaphore, order = owngil.Semaphore(0), owngil.Channel()

    def queue_up(k, timeout):
        if semaphore.acquire(timeout=timeout):
            order.send(k)
            semaphore.release()
            return True
        return False

    futures = []
    for k, timeout in enumerate([300, 0.3, 300, 0.3]):
        futures.append(four.submit(queue_up, k, timeout))
        until(lambda k=k: waiting(semaphore, k + 1) or any(future.done() for future in futures))
    assert not futures[1].result()
    assert not futures[3].result()
    semaphore.release()
    assert futures[0].result()
    assert futures[2].result()
    assert [order.recv(0), order.recv(0)] == [0, 2]


def test_no_waiter_is_overtaken_for_ever(pool):
    lock, start, stop = owngil.Lock(), owngil.Barrier(3, timeout=300), owngil.Event()

    def hog():
        turns = 0
        start.wait()
        while not stop.is_set():
            with lock:
                turns += 1
        return turns

    hogs = [pool.submit(hog) for _ in range(2)]
    start.wait()
    for _ in range(20):
        assert lock.acquire(timeout=300)
        lock.release()
    stop.set()
    for future in hogs:
        future.result()


# Interrupts.


def wait_for(thing):
    return (thing.acquire if hasattr(thing, "acquire") else thing.wait)()


WAITS = [
    lambda: owngil.Semaphore(0),
    lambda: owngil.BoundedSemaphore(0),
    owngil.Event,
    lambda: owngil.Barrier(2),
]


@pytest.mark.parametrize("make", [owngil.Lock, *WAITS], ids=["Lock", *KINDS[1:5]])
def test_interrupt_ends_a_wait(make, interpreter):
    thing = make()
    if type(thing) is owngil.Lock:
        thing.acquire()
    future = interpreter.submit(wait_for, thing)
    until(lambda: waiting(thing, 1))
    interpreter.interrupt()
    with pytest.raises(KeyboardInterrupt):
        future.result(300)
    assert waiting(thing, 0)
    if type(thing) is owngil.Lock:
        thing.release()
        assert thing.acquire(False)
    elif type(thing) is owngil.Barrier:
        thread = in_thread(thing.wait)
        assert {thing.wait(300), *outcomes([thread])} == {0, 1}


def test_an_interrupt_does_not_lose_a_hand_over(interpreter):
    """The lock goes to the first waiter just when that waiter is interrupted: the second waiter must get it."""
    lock = owngil.Lock()

    def first():
        with lock:
            pass

    outcome = {None: 0, KeyboardInterrupt: 0}
    for k in range(150):
        lock.acquire()
        future = interpreter.submit(first)
        until(lambda: waiting(lock, 1))
        second = in_thread(lock.acquire, True, 300)
        until(lambda: waiting(lock, 2))
        if k % 3 == 0:  # long enough for a hand-over
            time.sleep(0.0015)
        calls = [interpreter.interrupt, lock.release]
        for call in calls if k % 2 else reversed(calls):
            call()
        try:
            future.result(300)
            outcome[None] += 1
        except KeyboardInterrupt:
            outcome[KeyboardInterrupt] += 1
        assert outcomes([second]) == [True]
        lock.release()
    assert not lock.locked()
    assert sum(outcome.values()) == 150


def test_interrupts_hit_waits_or_nothing(interpreter):
    """An interrupt that arrives late in a wait is raised in that task or not at all."""
    semaphore = owngil.Semaphore(0)

    def wait():
        return semaphore.acquire()

    for _ in range(150):
        future = interpreter.submit(wait)
        thread = in_thread(semaphore.release)
        interpreter.interrupt()
        with contextlib.suppress(KeyboardInterrupt):
            future.result(300)
        thread.join()
        semaphore.acquire(False)
        assert interpreter.call(abs, -1) == 1


@pytest.mark.parametrize("kind", ["Lock", "Semaphore", "Event", "Barrier"])
def test_ctrl_c_ends_a_wait(run_program, kind):
    done = run_program(
        """
        import os, signal, sys, threading, time
        import owngil

        kind = sys.argv[1]
        thing = {"Lock": owngil.Lock, "Semaphore": lambda: owngil.Semaphore(0), "Event": owngil.Event,
                 "Barrier": lambda: owngil.Barrier(2)}[kind]()
        if kind == "Lock":
            thing.acquire()
        hits = []
        signal.signal(signal.SIGUSR1, lambda *_: hits.append(1))
        main = threading.main_thread().ident
        ended = threading.Event()

        def disturb():
            while len(hits) < 3:  # a handler that returns does not end the wait
                signal.pthread_kill(main, signal.SIGUSR1)
            while not ended.is_set():  # CPython overlooks a signal that comes just before it blocks
                signal.pthread_kill(main, signal.SIGINT)
                ended.wait(30)  # a second one would spoil what follows the first

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            (thing.acquire if hasattr(thing, "acquire") else thing.wait)()
        except KeyboardInterrupt:
            ended.set()
            print("interrupted")
        thread.join()
        print(thing)
        """,
        kind,
    )
    after = {
        "Lock": "<owngil.Lock locked, 0 waiting>",
        "Semaphore": "<owngil.Semaphore value=0, 0 waiting>",
        "Event": "<owngil.Event unset, 0 waiting>",
        "Barrier": "<owngil.Barrier 0 of 2 waiting>",
    }[kind]
    assert (done.stdout, done.stderr, done.returncode) == (f"interrupted\n{after}\n", "", 0)


def test_ctrl_c_does_not_lose_a_hand_over(run_program):
    done = run_program("""
        import signal, threading, time
        import owngil

        lock = owngil.Lock()
        main = threading.main_thread().ident

        def until(text):
            while text not in repr(lock):
                time.sleep(0.0002)

        def disturb(k):
            until("1 waiting")
            if k % 3 == 0:
                time.sleep(0.0015)  # long enough for a hand-over
            if k % 2:
                signal.pthread_kill(main, signal.SIGINT)
                lock.release()
            else:
                lock.release()
                signal.pthread_kill(main, signal.SIGINT)

        for k in range(200):
            lock.acquire()
            thread = threading.Thread(target=disturb, args=(k,))
            thread.start()
            try:
                with lock:
                    pass
            except KeyboardInterrupt:
                pass
            while True:  # the interrupt may come when the wait is over
                try:
                    thread.join()
                    break
                except KeyboardInterrupt:
                    pass
            assert lock.acquire(timeout=300)
            lock.release()
        print(lock)
    """)
    assert (done.stdout, done.stderr, done.returncode) == ("<owngil.Lock unlocked, 0 waiting>\n", "", 0)


def test_a_barrier_passes_a_thread_that_is_handling_a_signal(run_program):
    """The barrier opens while the main thread, in the middle of its wait, runs a signal handler."""
    done = run_program("""
        import signal, threading, time
        import owngil

        main = threading.main_thread().ident
        acting, handled = threading.Event(), threading.Event()
        handling = []

        def handle(*_):
            handling.append(1)
            if acting.is_set():
                handled.set()
                while not passed.is_set():
                    time.sleep(0.001)

        signal.signal(signal.SIGUSR1, handle)

        def action():
            acting.set()
            while not handled.is_set():
                signal.pthread_kill(main, signal.SIGUSR1)
                handled.wait(0.1)

        barrier = owngil.Barrier(2, action)
        passed = threading.Event()
        def last():
            while barrier.n_waiting < 1:
                time.sleep(0.001)
            print(barrier.wait())
            passed.set()

        thread = threading.Thread(target=last)
        thread.start()
        number = barrier.wait()
        thread.join()
        print(number)
        print(barrier)
    """)
    assert (done.stdout, done.stderr, done.returncode) == ("1\n0\n<owngil.Barrier 0 of 2 waiting>\n", "", 0)


def test_thousands_of_objects_are_freed():
    channel = owngil.Channel()
    for make in MAKERS:
        for _ in range(2000):
            channel.send(make())
            channel.recv()
    gc.collect()
