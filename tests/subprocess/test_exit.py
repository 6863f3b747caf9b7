"""The end of a process with workers: the right exit code, nothing on stderr, nothing lost."""

import signal
import subprocess
import sys
import textwrap

import pytest
from patience import HANGS_AFTER

PACKAGES = """
    import numpy, scipy.stats, pandas, matplotlib.pyplot as plt
    figure, axes = plt.subplots()
    axes.plot(pandas.DataFrame({"a": numpy.arange(5)})["a"])
    figure.savefig(__import__("io").BytesIO())
    plt.close(figure)
    assert abs(scipy.stats.norm.cdf(0) - 0.5) < 1e-12
"""


def test_unclosed_interpreters_and_pools(ends_cleanly):
    out = ends_cleanly("""
        import owngil
        it = owngil.Interpreter()
        pool = owngil.Pool(3)
        print(it.call(abs, -1), list(pool.map(abs, range(5))), owngil.run(abs, -2))
    """)
    assert out == "1 [0, 1, 2, 3, 4] 2\n"


def test_nothing_but_the_import(ends_cleanly):
    assert ends_cleanly("import owngil") == ""


def test_a_pool_that_was_never_used(ends_cleanly):
    ends_cleanly("import owngil; pool = owngil.Pool(2)")


@pytest.mark.parametrize("close", [True, False], ids=["closed", "left"])
def test_numeric_packages_in_four_workers_at_once(ends_cleanly, close):
    ends_cleanly(f"""
        import owngil
        code = {PACKAGES!r}
        workers = [owngil.Interpreter() for _ in range(4)]
        futures = [worker.submit(exec, __import__("textwrap").dedent(code), {{}}) for worker in workers]
        for future in futures:
            future.result()
        if {close}:
            for worker in workers:
                worker.close()
    """)


def test_submitted_work_is_finished(ends_cleanly):
    out = ends_cleanly("""
        import owngil
        pool = owngil.Pool(2)
        for k in range(20):
            pool.submit(print, k)
    """)
    assert sorted(map(int, out.split())) == list(range(20))


@pytest.mark.parametrize(
    ("ending", "code", "stderr"),
    [("sys.exit(3)", 3, ""), ("raise ValueError('x')", 1, "ValueError: x"), ("os._exit(4)", 4, "")],
)
def test_exit_codes(run_program, ending, code, stderr):
    done = run_program(f"""
        import os, sys, owngil
        pool = owngil.Pool(2)
        list(pool.map(abs, range(10)))
        {ending}
    """)
    assert done.returncode == code
    assert done.stderr.strip().endswith(stderr)
    assert done.stderr == "" or stderr


def test_ctrl_c_at_exit_interrupts_running_tasks(run_program):
    done = run_program("""
        import concurrent.futures, signal, threading
        import owngil

        def spin(started):
            started.send(None)
            while True:
                pass

        started = owngil.Channel()
        pool = owngil.Pool(1)
        future = pool.submit(spin, started)
        waiting = pool.submit(print, "never")
        started.recv()

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


def test_daemon_threads_in_workers(ends_cleanly):
    out = ends_cleanly("""
        import owngil

        def leave_threads():
            import threading, time
            def busy():
                while True:
                    pass
            threading.Thread(target=busy, daemon=True).start()
            threading.Thread(target=threading.Event().wait, daemon=True).start()
            return sum(thread.daemon for thread in threading.enumerate()) >= 2

        closed, left = owngil.Interpreter(), owngil.Interpreter()
        print(closed.call(leave_threads), left.call(leave_threads))
        closed.close()
        with owngil.Interpreter() as it:
            print(it.call(abs, -1))
    """)
    assert out == "True True\n1\n"


def test_daemon_threads_that_do_not_end(ends_cleanly):
    ends_cleanly("""
        import owngil

        def leave_threads():
            import threading, time
            def stubborn():
                while True:
                    try:
                        time.sleep(0.001)
                    except SystemExit:
                        pass
            for _ in range(4):
                threading.Thread(target=stubborn, daemon=True).start()

        with owngil.Interpreter() as it:
            it.call(leave_threads)
        owngil.run(leave_threads)
    """)


def test_tqdm_in_workers(run_program):
    done = run_program("""
        import owngil
        def work():
            from tqdm import tqdm
            return sum(tqdm(range(5)))
        with owngil.Pool(2) as pool:
            print([f.result() for f in [pool.submit(work) for _ in range(4)]])
    """)
    assert (done.returncode, done.stdout) == (0, "[10, 10, 10, 10]\n")
    assert "Traceback" not in done.stderr


def test_threads_and_executors_that_workers_leave_open(ends_cleanly):
    out = ends_cleanly("""
        import owngil
        def work():
            import concurrent.futures, asyncio, threading
            global executor, thread
            executor = concurrent.futures.ThreadPoolExecutor(2)
            total = sum(executor.map(abs, range(10)))
            return total + asyncio.run(asyncio.sleep(0, 5))
        print(owngil.run(work))
    """)
    assert out == "50\n"


def test_nested_pools_left_open(ends_cleanly):
    out = ends_cleanly("""
        import owngil
        def outer():
            import owngil
            global inner
            inner = owngil.Pool(2)
            return sum(inner.map(abs, range(10)))
        print(owngil.run(outer))
        it = owngil.Interpreter()
        print(it.call(outer))
        it.close()
    """)
    assert out == "45\n45\n"


def test_at_exit_functions_of_workers_run(ends_cleanly):
    out = ends_cleanly("""
        import owngil
        with owngil.Interpreter() as it:
            it.exec("import atexit; atexit.register(print, 'bye')")
    """)
    assert out == "bye\n"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python 3.12 starts no thread in exit functions")
def test_an_exit_function_of_a_worker_may_start_the_first_workers_of_that_worker(ends_cleanly):
    out = ends_cleanly("""
        import owngil
        def leave(level):
            import atexit
            if level:
                atexit.register(lambda: owngil.Interpreter().call(leave, level - 1))
            print("level", level)
        with owngil.Interpreter() as it:
            it.call(leave, 3)
        print("closed")
    """)
    assert out == "level 3\nlevel 2\nlevel 1\nlevel 0\nclosed\n"


def test_no_main_guard_is_needed(ends_cleanly):
    out = ends_cleanly("""
        import owngil
        print("once")
        class Thing:
            def __init__(self, x): self.x = x
        def double(thing): return Thing(thing.x * 2)
        with owngil.Pool(2) as pool:
            results = list(pool.map(double, [Thing(1), Thing(2)]))
        print([r.x for r in results], all(type(r) is Thing for r in results))
    """)
    assert out == "once\n[2, 4] True\n"


def test_keyword_functions_first_used_in_a_worker(ends_cleanly):
    """Python 3.12.0 to 3.12.3 freed the names of such keywords twice (gh-119213)."""
    out = ends_cleanly("""
        import owngil
        def work():
            import binascii, pickle, zlib
            pickle.loads(pickle.dumps(1), buffers=[])
            return len(zlib.compress(b"a" * 100, level=3)), binascii.b2a_base64(b"a", newline=False)
        for _ in range(3):
            with owngil.Interpreter() as it:
                print(it.call(work))
        print(work())
    """)
    assert out.count("b'YQ=='") == 4


def test_ctrl_c_at_exit_while_a_map_is_submitted(ends_cleanly):
    out = ends_cleanly(
        """
        import atexit, signal, threading

        @atexit.register
        def last_of_all():
            print(_core.count_workers())

        import owngil
        from owngil import _core

        class Item:
            def __reduce__(self):
                if at_exit and threading.current_thread() is threading.main_thread():
                    signal.raise_signal(signal.SIGINT)
                return abs, (1,)

        at_exit = False
        gate = owngil.Channel()
        pool = owngil.Pool(1)
        pool.submit(gate.recv)
        results = pool.map(abs, [Item() for _ in range(100)])
        at_exit = True
        """
    )
    assert out == "0\n"


ENDINGS = {
    "the end": ("", 0, ""),
    "sys.exit": ("sys.exit(3)", 3, ""),
    "an exception": ("raise ValueError('x')", 1, "ValueError: x"),
    "os._exit": ("os._exit(4)", 4, ""),
    "SIGTERM": ("signal.raise_signal(signal.SIGTERM)", -signal.SIGTERM, ""),
    "SIGTERM with a handler": (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); signal.raise_signal(signal.SIGTERM)",
        143,
        "",
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_endings_with_running_queued_and_uncollected_work(run_program, ending):
    source, code, stderr = ENDINGS[ending]
    done = run_program(f"""
        import os, signal, sys, threading, owngil
        gate, started = owngil.Channel(), owngil.Channel()
        def work():
            started.send(None)
            return gate.recv()
        pool = owngil.Pool(2)
        collected = pool.submit(bytes, 1000).result()
        uncollected = pool.submit(bytes, 1000)
        futures = [pool.submit(work) for _ in range(4)]
        started.recv()
        started.recv()
        def open_gate():  # when the main thread waits at exit, or is about to wait
            threading.main_thread().join()
            for _ in futures:
                gate.send(None)
        threading.Thread(target=open_gate).start()
        {source}
    """)
    assert done.returncode == code, done.stderr
    assert done.stderr.strip().endswith(stderr)
    assert done.stderr == "" or stderr


def test_sys_exit_in_a_task_is_its_exception_and_os_exit_ends_the_process(run_program):
    done = run_program("""
        import os, sys, owngil
        with owngil.Pool(1) as pool:
            try:
                pool.submit(sys.exit, 3).result()
            except SystemExit as error:
                print("code", error.code, pool.submit(abs, -1).result(), flush=True)
            pool.submit(os._exit, 5).result()
            print("never")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (5, "code 3 1\n", "")


def test_a_map_that_takes_too_long_is_given_up_while_c_code_runs(ends_cleanly):
    out = ends_cleanly("""
        import os, owngil
        receiver, sender = os.pipe()
        try:
            list(owngil.map(lambda fd: os.read(fd, 1), [receiver], timeout=0.2))
        except TimeoutError:
            print("given up")
        os.write(sender, b"1")  # otherwise the end of the process would wait for the read
    """)
    assert out == "given up\n"


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["pytest", "with xdist"])
def test_pytest(tmp_path, options):
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent("""
            import owngil
            pool = owngil.Pool(2)

            def test_passes():
                assert pool.submit(abs, -1).result() == 1

            def test_fails():
                assert list(owngil.map(abs, [-1])) == [2]
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("wait", [True, False])
def test_a_signal_handler_may_close_the_pool_while_its_thread_submits(ends_cleanly, wait):
    out = ends_cleanly(
        f"""
        import signal
        import owngil

        pool = owngil.Pool(1)
        print(pool.submit(abs, -1).result())
        signal.signal(signal.SIGUSR1, lambda *_: pool.shutdown(wait={wait}))
        with pool._dispatcher.lock:  # as within submit()
            signal.raise_signal(signal.SIGUSR1)
        pool.shutdown()
        """
    )
    assert out == "1\n"


def test_a_worker_waits_for_the_threads_of_its_tasks(ends_cleanly):
    program = """
    import threading
    import owngil

    def start():
        thread = threading.Thread(target=lambda: (threading.Event().wait(0.7), print("ended")))
        thread.start()
        return thread.daemon

    with owngil.Interpreter() as it:
        print(it.call(start))
    print("closed")
    """
    assert ends_cleanly(program).split() == ["False", "ended", "closed"]


FIRST_AT_EXIT = """
    import atexit, sys, threading

    def at_end():
        import owngil
        try:
            owngil.Pool(1).submit(print, "a task")
        except RuntimeError as error:
            print(error)

    if sys.argv[1] == "atexit":
        atexit.register(at_end)
    else:
        threading.Thread(target=lambda: (threading.main_thread().join(), at_end())).start()
"""


def test_an_exit_function_that_imports_owngil_first_loses_no_task(ends_cleanly):
    """atexit calls no function that is registered while it runs: nothing would await the workers."""
    words = ("workers cannot start: the program is ending", "can't create new thread at interpreter shutdown")
    assert ends_cleanly(FIRST_AT_EXIT, "atexit").startswith(words)  # 3.12 says the other


@pytest.mark.skipif(sys.version_info < (3, 13), reason="3.12 starts no thread when the program has ended")
def test_a_thread_that_imports_owngil_first_when_the_main_thread_has_ended(ends_cleanly):
    assert ends_cleanly(FIRST_AT_EXIT, "thread") == "a task\n"
