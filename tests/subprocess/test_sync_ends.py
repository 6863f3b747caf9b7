"""Ends of interpreters and processes while a thread waits for a lock, semaphore, event or barrier, or holds one."""

import pytest

MAKE = """
        import threading, time
        import owngil

        def make(kind):
            thing = {"Lock": owngil.Lock, "Semaphore": lambda: owngil.Semaphore(0), "Event": owngil.Event,
                     "Barrier": lambda: owngil.Barrier(100)}[kind]()
            if kind == "Lock":
                thing.acquire()
            return thing

        def wait_for(thing):
            return (thing.acquire if hasattr(thing, "acquire") else thing.wait)()

        def until_waiting(thing, count):
            while (thing.n_waiting if hasattr(thing, "n_waiting") else int(repr(thing).split()[-2])) != count:
                time.sleep(0.001)

        def leave_threads(thing, count):
            import threading
            for _ in range(count):
                threading.Thread(target=wait_for, args=(thing,), daemon=True).start()
"""
KINDS = ["Lock", "Semaphore", "Event", "Barrier"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_process_ends_while_daemon_threads_wait(ends_cleanly, kind):
    ends_cleanly(f"""{MAKE}
        thing = make({kind!r})
        leave_threads(thing, 3)
        until_waiting(thing, 3)
    """)


@pytest.mark.parametrize("kind", KINDS)
def test_the_process_ends_while_daemon_threads_of_workers_wait(ends_cleanly, kind):
    out = ends_cleanly(f"""{MAKE}
        thing = make({kind!r})
        closed, left = owngil.Interpreter(), owngil.Interpreter()
        closed.call(leave_threads, thing, 2)
        left.call(leave_threads, thing, 2)
        until_waiting(thing, 4)
        closed.close()
        print(thing)
    """)
    assert "4 " in out  # nothing ends the wait of such threads, so the interpreter lives until exit


@pytest.mark.parametrize("close", [True, False], ids=["closed", "left"])
def test_locks_that_are_held_at_the_end(ends_cleanly, close):
    out = ends_cleanly(f"""{MAKE}
        lock, other = owngil.Lock(), owngil.Lock()
        other.acquire()
        it = owngil.Interpreter()
        it.exec("lock.acquire(); kept = lock", lock=lock)
        if {close}:
            it.close()
            print(lock, lock.acquire(timeout=0.01))
            lock.release()
            print(lock.acquire(False))
    """)
    assert out == ("<owngil.Lock locked, 0 waiting> False\nTrue\n" if close else "")


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_at_exit_ends_a_task_that_waits(run_program, kind):
    done = run_program(f"""{MAKE}
        import concurrent.futures, signal

        thing = make({kind!r})
        pool = owngil.Pool(1)
        future = pool.submit(wait_for, thing)
        until_waiting(thing, 1)

        # Ctrl-C comes when the main thread is about to wait for the workers, at exit.
        waits = threading.Lock()  # not an Event, which Ctrl-C in the middle of set() would spoil
        waits.acquire()
        join = owngil._tasks.dispatcher.Dispatcher.join
        def joins(dispatcher):
            if waits.locked():
                waits.release()
            join(dispatcher)
        owngil._tasks.dispatcher.Dispatcher.join = joins
        def press_ctrl_c():
            waits.acquire()
            while not future.done():  # CPython overlooks a signal that comes just before it blocks
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                concurrent.futures.wait([future], timeout=30)
        threading.Thread(target=press_ctrl_c, daemon=True).start()
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_waiters_of_interpreters_that_come_and_go(ends_cleanly):
    """Interrupted waiters leave the line before their interpreter and their stack are freed."""
    out = ends_cleanly(f"""{MAKE}
        things = [make(kind) for kind in {KINDS!r}]
        for k in range(12):
            thing = things[k % len(things)]
            with owngil.Interpreter() as it:
                future = it.submit(wait_for, thing)
                until_waiting(thing, 1)
                it.interrupt()
                assert type(future.exception(300)) is KeyboardInterrupt
        things[0].release()
        things[1].release(5)
        things[2].set()
        things[3].reset()
        print(*things)
    """)
    assert out == (
        "<owngil.Lock unlocked, 0 waiting> <owngil.Semaphore value=5, 0 waiting> <owngil.Event set, 0 waiting> "
        "<owngil.Barrier 0 of 100 waiting>\n"
    )


def test_memory_of_sync_objects_is_freed(ends_cleanly):
    ends_cleanly("""
        import owngil

        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096

        def cycle(times):
            barrier = owngil.Barrier(1)
            for _ in range(times):
                lock, event, counter = owngil.Lock(), owngil.Event(), owngil.Counter()
                with lock:
                    event.set()
                barrier.wait()
                owngil.Barrier(2).reset()

        with owngil.Pool(1) as pool:
            pool.submit(cycle, 200_000).result()
            before = resident()
            pool.submit(cycle, 200_000).result()
            assert resident() - before < 6_000_000, (before, resident())
    """)
