"""Forks of the main interpreter while workers live: the parent goes on, the child starts without workers."""

from pathlib import Path

import pytest
from extensions import libraries

# The warning is right: other threads do not exist in the child.
PRELUDE = """
import faulthandler, os, sys, warnings
import owngil
faulthandler.cancel_dump_traceback_later()  # a child that exits would wait for its thread for ever
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

def in_child(fn, code=0):
    '''Fork, call fn() in the child, and check the child's exit code.'''
    child = os.fork()
    if child == 0:
        try:
            fn()
        except Exception:
            import traceback
            traceback.print_exc()
            os._exit(99)
        sys.exit(code)  # a complete exit, with atexit functions
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code

def refused(fn, kind=owngil.BrokenPoolError, text="belong to the process that forked this one; make new ones here"):
    try:
        fn()
    except kind as error:
        assert text in str(error), error
    else:
        raise AssertionError("nothing was raised")

def square(k):
    return k * k
"""


@pytest.fixture
def forks_cleanly(ends_cleanly):
    def run(source, *arguments, **options):
        import textwrap

        return ends_cleanly(textwrap.dedent(PRELUDE) + textwrap.dedent(source), *arguments, **options)

    return run


def test_the_child_can_make_workers_of_its_own(forks_cleanly):
    out = forks_cleanly("""
        pool = owngil.Pool(3)
        it = owngil.Interpreter()
        assert list(pool.map(square, range(100), chunksize=1)) == [k * k for k in range(100)]

        def child():
            with owngil.Pool(2) as own:
                print(sum(own.map(square, range(100), chunksize=1)), own.broadcast(abs, -1), flush=True)
            with owngil.Interpreter() as own:
                own.exec("print('hello', flush=True)")
            print(owngil.run(square, 5), flush=True)

        for _ in range(3):
            in_child(child, 7)
        assert pool.submit(square, 3).result() == 9 and it.call(square, 4) == 16
        it.close()
        pool.shutdown()
    """)
    assert out == "328350 [1, 1]\nhello\n25\n" * 3


def test_objects_made_before_the_fork_are_refused_in_the_child(forks_cleanly):
    forks_cleanly("""
        import asyncio, concurrent.futures

        pool = owngil.Pool(2)
        unused = owngil.Pool(2)
        it = owngil.Interpreter()
        channel = owngil.Channel(1)
        gate = owngil.Channel()
        running = pool.submit(gate.recv, 60)
        queued = [pool.submit(gate.recv, 60) for _ in range(5)]
        finished = it.submit(square, 3)
        assert finished.result() == 9
        channel.send("for the parent")
        mapped = pool.map(square, range(1000), chunksize=1)
        unordered = pool.map(square, range(1000), chunksize=1, ordered=False)

        def child():
            refused(lambda: pool.submit(square, 1))
            refused(lambda: pool.map(square, [1]))
            refused(lambda: pool.broadcast(square, 1))
            refused(lambda: it.call(square, 1))
            refused(lambda: it.exec("pass"))
            refused(lambda: unused.submit(square, 1))
            refused(running.result)
            refused(lambda: queued[0].result(1))
            refused(lambda: next(mapped))
            refused(lambda: next(unordered))
            assert isinstance(queued[1].exception(), owngil.BrokenPoolError)
            assert len(concurrent.futures.wait(queued).done) == len(queued)
            assert len(list(concurrent.futures.as_completed(queued))) == len(queued)
            called = []
            queued[2].add_done_callback(called.append)
            assert called == [queued[2]]
            assert not queued[3].cancel() and queued[3].done()
            assert finished.result() == 9
            for use in (channel.recv, lambda: channel.send(1), lambda: channel.recv(0.01), lambda: list(channel)):
                refused(use, RuntimeError, "make a new one here")
            refused(lambda: asyncio.run(channel.arecv()), RuntimeError, "make a new one here")
            refused(lambda: asyncio.run(channel.asend(1)), RuntimeError, "make a new one here")
            channel.close()
            assert channel.closed and len(channel) == 0
            it.interrupt()
            pool.interrupt()
            it.close()
            pool.shutdown(cancel_futures=True)
            unused.shutdown()
            own = owngil.Channel()
            own.send(1)
            assert own.recv() == 1

        in_child(child)
        assert channel.recv() == "for the parent"
        for k in range(6):
            gate.send(k)
        assert sorted(future.result() for future in [running, *queued]) == list(range(6))
        assert list(mapped) == [k * k for k in range(1000)]
        assert sorted(unordered) == [k * k for k in range(1000)]
    """)


def test_forks_while_workers_load_and_unload_libraries(forks_cleanly, rounds):
    """glibc leaves its loader lock held in the child: when owngil ignored that, one child in 100 hung.

    When owngil ignored it only while loading Python's own modules, one child in some thousands hung.
    """
    forks_cleanly(
        """
        import ctypes, threading, time

        stop = threading.Event()
        times = [0, 0, 0]

        def load_and_unload(k):
            while not stop.is_set():
                with owngil.Interpreter() as it:
                    it.exec("import numpy, ssl")
                times[k] += 1

        libraries = ["libresolv.so.2", "libanl.so.1", "libutil.so.1", "libnss_files.so.2"]
        threads = [threading.Thread(target=load_and_unload, args=(k,)) for k in range(len(times))]
        for thread in threads:
            thread.start()
        forks = 0
        while forks < int(sys.argv[1]) or min(times) < 3:
            time.sleep(0.001 * (forks % 5))  # at other moments of their work
            in_child(lambda: ctypes.CDLL(libraries[forks % len(libraries)]))
            forks += 1
        stop.set()
        for thread in threads:
            thread.join()
        """,
        str(rounds(40, 2000)),
    )


def test_forks_while_workers_are_busy_start_and_end(forks_cleanly, rounds):
    """The child must not need a lock that another thread holds at the moment of the fork."""
    forks_cleanly(
        """
        import threading
        import numpy as np

        pool = owngil.Pool(2)
        stop = threading.Event()
        array = np.arange(100_000.0)
        # A module that another thread is importing at the moment of the fork stays locked in the child: CPython's own.
        pool.submit(lambda: array.sum()).result()

        def keep_busy():
            while not stop.is_set():
                list(pool.map(lambda k: (array * k).sum(), range(20), chunksize=1))

        def start_and_end():
            while not stop.is_set():
                with owngil.Interpreter() as it:
                    it.call(lambda a: a + 1, array)

        def child():
            with owngil.Pool(1) as own:
                assert own.submit(lambda a: float(a.sum()), array).result() == array.sum()

        threads = [threading.Thread(target=run) for run in (keep_busy, start_and_end)]
        for thread in threads:
            thread.start()
        for _ in range(int(sys.argv[1])):
            in_child(child)
        stop.set()
        for thread in threads:
            thread.join()
        pool.shutdown()
        """,
        str(rounds(4, 200)),
    )


def test_children_of_children(forks_cleanly):
    out = forks_cleanly("""
        pool = owngil.Pool(1)
        pool.submit(square, 1).result()

        def child():
            own = owngil.Pool(1)
            print(own.submit(square, 2).result(), flush=True)

            def grandchild():
                refused(lambda: own.submit(square, 1))
                refused(lambda: pool.submit(square, 1))
                print(owngil.run(square, 3), flush=True)

            in_child(grandchild, 3)
            print(own.submit(square, 4).result(), flush=True)

        in_child(child, 2)
    """)
    assert out == "4\n9\n16\n"


def test_the_child_may_end_at_once_by_exec_or_an_error(forks_cleanly):
    out = forks_cleanly("""
        pool = owngil.Pool(2)
        running = pool.submit(abs, -1)
        running.result()
        for _ in range(20):
            in_child(lambda: None)
            in_child(lambda: os._exit(0))
        in_child(lambda: os.execv("/bin/echo", ["echo", "replaced"]))
        import threading
        thread = threading.Thread(target=in_child, args=(lambda: os._exit(0),))
        thread.start()
        thread.join()
        assert pool.submit(abs, -2).result() == 2
    """)
    assert out == "replaced\n"


def test_subprocess_with_preexec_fn(forks_cleanly):
    out = forks_cleanly("""
        import subprocess
        pool = owngil.Pool(2)
        assert list(pool.map(abs, range(5))) == list(range(5))
        for _ in range(5):
            subprocess.run(["sh", "-c", "umask"], preexec_fn=lambda: os.umask(0o123), check=True)
        assert pool.submit(abs, -2).result() == 2
    """)
    assert out.split() == ["0123"] * 5


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_in_main(forks_cleanly, method):
    out = forks_cleanly(f"""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        def task(k):
            import owngil
            with owngil.Pool(1) as own:
                return own.submit(pow, k, 2).result()

        if __name__ == "__main__":
            pool = owngil.Pool(2)
            assert list(pool.map(abs, range(5))) == list(range(5))
            context = multiprocessing.get_context({method!r})
            with ProcessPoolExecutor(2, mp_context=context) as executor:
                print(list(executor.map(task, range(4))))
            with context.Pool(2) as processes:
                print(processes.map(task, range(4)))
            assert pool.submit(abs, -2).result() == 2
    """)
    assert out == "[0, 1, 4, 9]\n" * 2


def test_arrays_made_before_the_fork_are_copies_in_the_child(forks_cleanly):
    forks_cleanly("""
        import numpy as np
        pool = owngil.Pool(1)
        result = pool.submit(lambda: np.ones(1_000_000)).result()
        shared = owngil.zeros(10)
        lent = np.arange(1_000_000)
        held = pool.submit(lambda a: a.sum(), lent).result()

        def child():
            assert result.sum() == 1_000_000 and lent.sum() == held
            with owngil.Pool(1) as own:
                assert own.submit(lambda a: a.sum(), lent).result() == held
                assert own.submit(lambda a: a.sum(), result).result() == 1_000_000
                own.submit(lambda a: a.fill(3), shared).result()
            assert shared.sum() == 30

        in_child(child)
        pool.submit(lambda a: a.fill(2), shared).result()
        assert shared.sum() == 20
    """)


def test_locks_made_before_the_fork_keep_their_state(forks_cleanly):
    forks_cleanly("""
        pool = owngil.Pool(1)
        pool.submit(abs, 1).result()
        free, held, counter = owngil.Lock(), owngil.Lock(), owngil.Counter(5)
        held.acquire()

        def child():
            with free:
                pass
            assert not held.acquire(timeout=0.01)
            held.release()
            assert counter.add() == 6

        in_child(child)
        assert held.locked() and counter.value == 5
    """)


def test_a_lock_that_a_worker_holds_is_refused_in_the_child(forks_cleanly):
    forks_cleanly("""
        lock, holds, go_on = owngil.Lock(), owngil.Channel(), owngil.Channel()

        def hold():
            with lock:
                holds.send(None)
                go_on.recv()

        pool = owngil.Pool(1)
        holding = pool.submit(hold)
        holds.recv()
        lost = "held by another thread, maybe a worker's, when this process was forked"

        def child():
            assert lock.locked()
            assert not lock.acquire(blocking=False)
            assert not lock.acquire(timeout=0.01)
            refused(lock.acquire, RuntimeError, lost)
            refused(lock.__enter__, RuntimeError, lost)
            in_child(lambda: refused(lock.acquire, RuntimeError, lost))  # and in its own
            lock.release()  # any thread may release it; from then on the lock belongs to the child
            with lock:
                assert not lock.acquire(timeout=0.01)
            with owngil.Pool(2) as own:
                def count(_):
                    with lock:
                        return 1
                assert sum(own.map(count, range(100), chunksize=1)) == 100

        in_child(child)
        go_on.send(None)
        holding.result()
        with lock:
            pass
    """)


def test_a_lock_is_the_childs_own(forks_cleanly):
    forks_cleanly("""
        import threading
        held, free = owngil.Lock(), owngil.Lock()

        def child():
            def take(lock):
                with lock:
                    taken.append(lock)
            taken = []
            threads = [threading.Thread(target=take, args=(lock,)) for lock in (held, free) for _ in range(4)]
            for thread in threads:
                thread.start()
            while "4 waiting" not in repr(held):
                os.sched_yield()
            held.release()  # this thread held it
            for thread in threads:
                thread.join()
            assert len(taken) == 8
            with held, free:  # another thread of the child may wait for this thread's lock
                waiting = threading.Thread(target=take, args=(held,))
                waiting.start()
                while "1 waiting" not in repr(held):
                    os.sched_yield()
            waiting.join()

        held.acquire()
        in_child(child)
        held.release()
    """)


@pytest.mark.parametrize("kind", ["Lock", "Semaphore", "BoundedSemaphore"])
def test_the_child_has_no_waiters(forks_cleanly, kind):
    forks_cleanly(f"""
        import threading
        lock = owngil.{kind}()

        def take():
            with lock:
                pass

        pool = owngil.Pool(2)
        with lock:
            futures = [pool.submit(take) for _ in range(2)]
            thread = threading.Thread(target=take)
            thread.start()
            while "3 waiting" not in repr(lock):
                os.sched_yield()

            def child():
                assert "0 waiting" in repr(lock)
                lock.release()
                assert lock.acquire()

            in_child(child)
        for future in futures:
            future.result()
        thread.join()
    """)


def test_events_and_barriers_with_waiters(forks_cleanly):
    forks_cleanly("""
        import threading
        event, barrier, unused = owngil.Event(), owngil.Barrier(3), owngil.Barrier(2)
        pool = owngil.Pool(3)
        waits = pool.submit(event.wait)
        meet = [pool.submit(barrier.wait) for _ in range(2)]
        while "1 waiting" not in repr(event) or barrier.n_waiting < 2:
            os.sched_yield()

        def child():
            assert "0 waiting" in repr(event)
            assert not event.wait(0.01)
            event.set()
            assert event.wait()
            refused(barrier.wait, threading.BrokenBarrierError, "")
            assert barrier.broken and barrier.n_waiting == 0
            barrier.reset()
            for several in (barrier, unused):
                others = [threading.Thread(target=several.wait) for _ in range(several.parties - 1)]
                for thread in others:
                    thread.start()
                several.wait()
                for thread in others:
                    thread.join()

        in_child(child)
        barrier.wait()
        event.set()
        assert waits.result()
        assert sorted(future.result() for future in meet) in ([0, 1], [0, 2], [1, 2])
    """)


def test_forks_while_others_are_inside_locks(forks_cleanly, rounds):
    forks_cleanly(
        """
        import threading
        kinds = [owngil.Lock(), owngil.Semaphore(2), owngil.BoundedSemaphore(2)]
        event, barrier, stop = owngil.Event(), owngil.Barrier(2), owngil.Event()

        def work():
            while not stop.is_set():
                for lock in kinds:
                    if lock.acquire(timeout=0.001):
                        lock.release()
                event.set()
                event.clear()
                event.wait(0.00001)
                repr(barrier)
                barrier.abort()
                barrier.reset()

        def child():
            for lock in kinds:
                lock.acquire(timeout=0.01)
                repr(lock)
                lock.release() if lock.acquire(blocking=False) else None
            event.set()
            assert event.wait()
            barrier.reset()
            assert barrier.n_waiting == 0 and not barrier.broken
            os._exit(0)

        pool = owngil.Pool(2)
        futures = [pool.submit(work) for _ in range(2)]
        with owngil.trace(os.devnull):
            for _ in range(int(sys.argv[1])):
                in_child(child)
        stop.set()
        for future in futures:
            future.result()
    """,
        str(rounds(100, 10_000)),
    )


def test_worker_local_in_the_child(forks_cleanly):
    forks_cleanly("""
        local = owngil.worker_local(list)
        local().append(1)
        pool = owngil.Pool(1)
        pool.submit(lambda: local().append(2)).result()

        def child():
            assert local() == [1]
            assert owngil.run(lambda: local()) == []

        in_child(child)
    """)


@pytest.mark.parametrize(
    "wait",
    [
        "list(pool.map(wait, [gate]))",
        "list(pool.map(wait, [gate], ordered=False))",
        "pool.submit(wait, gate).result()",
        "[future.result() for future in futures.wait([pool.submit(wait, gate)]).done]",
    ],
)
def test_the_child_of_a_signal_handler_does_not_go_on_waiting(forks_cleanly, wait):
    out = forks_cleanly(f"""
        import signal, threading
        from concurrent import futures

        def fork(*_):
            global child
            child = os.fork()
            if child:
                gate.send("opened")

        def wait(gate):
            return gate.recv()

        gate = owngil.Channel()
        signal.signal(signal.SIGUSR1, fork)
        with owngil.Pool(1) as pool:
            pool.submit(abs, -1).result()
            thread = threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1))
            thread.start()  # by then the main thread waits, or is about to wait
            try:
                result = {wait}
            except owngil.BrokenPoolError as error:
                assert "belong to the process that forked this one" in str(error)
                print("refused", flush=True)
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        print(result)
    """)
    assert out in ("refused\nopened\n", "refused\n['opened']\n")


def test_forks_wait_for_constructors_and_destructors(forks_cleanly, tmp_path, monkeypatch):
    """They take glibc's lock of exit functions: without the wait, one child in some thousands hung at its exit."""
    library = libraries.compile_c(tmp_path / "libforked.so", Path(__file__).with_name("forked.c"))
    monkeypatch.setenv("NOTES", str(tmp_path))
    forks_cleanly(
        """
        import pathlib, threading, time

        def load(path):
            import ctypes
            ctypes.CDLL(path)

        def is_noted(what):
            return pathlib.Path(os.environ["NOTES"], what).exists()

        def fork_within(what):
            while not is_noted(what + "-begun"):
                time.sleep(0.001)
            pathlib.Path(os.environ["NOTES"], what + "-go").touch()
            child = os.fork()  # while the constructor runs for 0.2 s more
            if child == 0:
                os._exit(0 if is_noted(what + "-done") else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, what

        it = owngil.Interpreter()
        loaded = it.submit(load, sys.argv[1])
        fork_within("constructor")
        loaded.result()
        closer = threading.Thread(target=it.close)
        closer.start()
        fork_within("destructor")
        closer.join()
        """,
        str(library),
    )


def test_forks_wait_for_the_first_load_of_a_library(forks_cleanly, tmp_path, monkeypatch):
    """A fork decides at its beginning which handlers it calls: it skipped one that OpenBLAS registered meanwhile."""
    library = libraries.compile_c(tmp_path / "libopenblas-forked.so", Path(__file__).with_name("forked.c"))
    monkeypatch.setenv("NOTES", str(tmp_path))
    forks_cleanly(
        """
        import pathlib, time

        def load(path):
            import ctypes
            ctypes.CDLL(path)

        with owngil.Interpreter() as it:
            loaded = it.submit(load, sys.argv[1])
            while not pathlib.Path(os.environ["NOTES"], "constructor-begun").exists():
                time.sleep(0.001)
            for what in ("constructor-go", "destructor-go"):
                pathlib.Path(os.environ["NOTES"], what).touch()
            in_child(lambda: None)
            loaded.result()
        """,
        str(library),
    )


def test_a_fork_that_workers_have_waited_for_long_enough_is_announced_again(forks_cleanly, tmp_path, monkeypatch):
    """A forking thread may wait for the GIL longer than workers wait for the fork; they may load until it forks."""
    held, other = (
        libraries.compile_c(tmp_path / name, Path(__file__).with_name("held.c"))
        for name in ("libheld.so", "libother.so")
    )
    blas = libraries.compile_c(tmp_path / "libopenblas-forked.so", Path(__file__).with_name("forked.c"))
    monkeypatch.setenv("NOTES", str(tmp_path))
    for what in ("constructor-go", "destructor-go"):
        (tmp_path / what).touch()
    forks_cleanly(
        """
        import ctypes, threading, time

        held, other, blas, folder = sys.argv[1:]
        awaited, begun = os.path.join(folder, "awaited"), os.path.join(folder, "begun")
        wait_with_the_gil = ctypes.PyDLL(other).make_and_await

        def load(path, seconds=0):
            import ctypes, time
            time.sleep(seconds)
            ctypes.CDLL(path)

        def hold_the_gil():
            time.sleep(0.2)
            wait_with_the_gil(os.fsencode(awaited), os.fsencode(os.path.join(folder, "constructor-begun")))

        def before():  # owngil's handler runs after this one
            loading.append(quick.submit(load, blas, 0.2))
            holder.start()

        with owngil.Interpreter() as slow, owngil.Interpreter() as quick:
            quick.call(load, other, 0.001)  # a first call may need main's GIL (3.13)
            os.environ.update(AWAITED=awaited, BEGUN=begun)
            loading = [slow.submit(load, held)]
            while not os.path.exists(begun):
                os.sched_yield()
            holder = threading.Thread(target=hold_the_gil)
            os.register_at_fork(before=before)
            in_child(lambda: None)
            holder.join()
            for future in loading:
                future.result()
        """,
        str(held),
        str(other),
        str(blas),
        str(tmp_path),
    )


def test_a_worker_does_not_wait_for_ever_for_a_fork_that_waits_for_it(ends_cleanly):
    """A handler that was registered before owngil's runs after owngil has announced the fork."""
    out = ends_cleanly("""if True:
        import faulthandler, os, warnings
        faulthandler.cancel_dump_traceback_later()  # as above
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        os.register_at_fork(before=lambda: pool.shutdown())
        os.register_at_fork(before=lambda: print(pool.submit(import_module, "sqlite3").result().__name__, flush=True))
        os.register_at_fork(after_in_parent=lambda: print(later.submit(import_module, "ssl").result().__name__))
        import owngil
        from importlib import import_module
        pool, later = owngil.Pool(1), owngil.Pool(1)
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            later.shutdown()
    """)
    assert out == "sqlite3\nssl\n"


def test_workers_stop_waiting_for_a_fork_that_failed(forks_cleanly):
    forks_cleanly("""
        import resource
        with owngil.Pool(1) as pool:
            pool.submit(abs, -1).result()
            files = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, files[1]))
            unraisable, sys.unraisablehook = sys.unraisablehook, lambda _: None  # 3.15 complains of the descriptor
            for _ in range(3):
                refused(os.forkpty, OSError, "")
            sys.unraisablehook = unraisable
            resource.setrlimit(resource.RLIMIT_NOFILE, files)
            pool.submit(__import__, "numpy").result()
    """)


def test_forks_wait_for_the_number_of_blas_threads(forks_cleanly, tmp_path):
    """Setting it restarts OpenBLAS's threads after its handler ended them: the child waited for them at its exit."""
    library = libraries.compile_c(tmp_path / "libopenblas-forked.so", Path(__file__).with_name("forked.c"))
    forks_cleanly(
        """
        import threading

        def set_again_and_again(path, begun, stop):
            import ctypes
            from owngil._isolation import blas_threads

            class Library:
                def __init__(self):
                    self.dynlib = ctypes.CDLL(path)

                def set_num_threads(self, number):
                    self.dynlib.openblas_set_num_threads(number)

            while not stop.is_set():
                blas_threads._set_number(Library(), 1)
                begun.set()

        for start in (owngil.Pool(1).submit, lambda *args: threading.Thread(target=args[0], args=args[1:]).start()):
            begun, stop = owngil.Event(), owngil.Event()
            start(set_again_and_again, sys.argv[1], begun, stop)
            begun.wait()
            try:
                for _ in range(3):
                    in_child(lambda: None)
            finally:
                stop.set()
        """,
        str(library),
    )


def test_an_import_that_could_not_watch_forks_is_repeated(preload, ends_cleanly):
    preload(Path(__file__).with_name("no_atfork.c"))
    out = ends_cleanly("""
        import ctypes
        for _ in range(2):
            try:
                import owngil
            except OSError as error:
                print(error)
        print(ctypes.CDLL(None).count_fork_handlers(), owngil.run(abs, -1))
        """)
    assert out == "[Errno 12] Cannot allocate memory\n1 1\n"


def test_workers_of_the_parent_are_not_interrupted_in_the_child(forks_cleanly):
    """Neither a helper thread nor a timer starts in the child."""
    forks_cleanly("""
        gate = owngil.Channel()
        it = owngil.Interpreter()
        future = it.submit(gate.recv)
        [worker] = it._dispatcher.workers.alive.values()
        while not worker.task:
            pass

        def child():
            worker.interrupt(0, 100.0)
            worker.stop(100.0)
            assert worker.join() is None
            assert len(os.listdir("/proc/self/task")) == 1

        in_child(child)
        gate.send("on")
        assert future.result() == "on"
        it.close()
        """)
