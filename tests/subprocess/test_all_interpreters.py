"""Functions of the standard library that walk or change what all interpreters use, beside busy workers."""

import sys
from pathlib import Path

import pytest
from extensions import build, libraries

BUSY = """
    import sys, threading, time
    import owngil

    def work(stop):
        def f(k): return k if k < 1 else [str(j) * 40 for j in range(k)] and f(k - 1)
        while not stop.is_set():
            f(20)

    def handle(stop):
        while not stop.is_set():
            try:
                raise ValueError([1])
            except ValueError:
                try:
                    raise KeyError("inner")
                except KeyError:
                    [object() for _ in range(50)]
"""

FRAMES = (
    BUSY
    + """
    current_frames = sys._current_frames  # debuggers keep it from before, and tools wrap it
    sys._current_frames = lambda: current_frames()
    original = sys._current_frames, sys._current_exceptions, sys.getallocatedblocks
    stop = owngil.Event()
    in_thread = threading.Event()

    def wait():
        try:
            raise LookupError("of the thread")
        except LookupError:
            in_thread.set()
            stop.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    in_thread.wait()
    with owngil.Pool(2) as pool:
        futures = [pool.submit(work, stop), pool.submit(handle, stop)]
        for k in range(int(sys.argv[1])):
            frames = current_frames()
            errors = sys._current_exceptions()
            assert frames[threading.get_ident()] is sys._getframe(), frames
            names = set()
            frame = frames[thread.ident]
            while frame is not None:
                names.add(frame.f_code.co_name)
                frame = frame.f_back
            assert "wait" in names, names
            assert isinstance(errors[thread.ident], LookupError), errors
            assert errors[threading.get_ident()] is None
            if k % 50 == 0:
                assert sys.getallocatedblocks() > 1000
                with owngil.Interpreter() as it:  # workers start and end meanwhile
                    it.call(abs, 1)
        stop.set()
        for future in futures:
            future.result()
    thread.join()
    assert (sys._current_frames, sys._current_exceptions, sys.getallocatedblocks) == original
    print("ends")
"""
)


def test_frames_and_exceptions_of_threads_are_those_of_the_own_interpreter(ends_cleanly, rounds):
    assert ends_cleanly(FRAMES, str(rounds(300, 20_000))) == "ends\n"


IMPORTED = (
    BUSY
    + """
    def import_again(stop):
        import sys, threading
        while not stop.is_set():
            sys.modules.pop("_csv", None)
            import _csv
            thread = threading.Thread(target=len, args=("",))
            thread.start()
            thread.join()

    def start_threads():
        while not stop.is_set():
            thread = threading.Thread(target=len, args=("",))
            thread.start()
            thread.join()

    stop = owngil.Event()
    with owngil.Pool(2) as pool:
        futures = [pool.submit(import_again, stop) for _ in range(2)]
        thread = threading.Thread(target=start_threads)
        thread.start()
        for _ in range(int(sys.argv[2])):
            if sys.argv[1] == "frames":
                sys._current_frames()
                sys._current_exceptions()
            else:
                getattr(threading, sys.argv[1])(lambda *event: None)
                getattr(threading, sys.argv[1])(None)
        stop.set()
        thread.join()
        for future in futures:
            future.result()
    print("ends")
"""
)


@pytest.mark.parametrize("walk", ["frames", "setprofile_all_threads", "settrace_all_threads"])
def test_threads_of_main_are_listed_beside_imports_of_workers(ends_cleanly, rounds, monkeypatch, walk):
    monkeypatch.setenv("MALLOC_PERTURB_", "165")  # a thread state that is used after it was freed crashes at once
    few, many = (100_000, 5_000_000) if walk == "frames" else (2000, 100_000)
    assert ends_cleanly(IMPORTED, walk, str(rounds(few, many))) == "ends\n"


IN_WORKER = (
    BUSY
    + """
    def look():
        import sys, threading
        ready = threading.Event()
        end = threading.Event()
        def wait():
            ready.set()
            end.wait()
        thread = threading.Thread(target=wait)
        thread.start()
        ready.wait()
        for _ in range(200):
            assert set(sys._current_frames()) == {threading.get_ident(), thread.ident}
            assert set(sys._current_exceptions()) == {threading.get_ident(), thread.ident}
        end.set()
        thread.join()
        try:
            sys.getallocatedblocks()
        except RuntimeError as error:
            return str(error)

    stop = owngil.Event()
    with owngil.Pool(2) as pool:
        future = pool.submit(work, stop)
        print(pool.submit(look).result())
        stop.set()
"""
)


def test_a_worker_sees_its_own_threads(ends_cleanly):
    assert "call it in the main one" in ends_cleanly(IN_WORKER)


def test_a_forked_child_has_the_functions_of_python(ends_cleanly):
    program = (
        BUSY
        + """
    import os, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    blocks = sys.getallocatedblocks
    with owngil.Interpreter() as it:
        it.call(abs, 1)
        assert sys.getallocatedblocks is not blocks
        child = os.fork()
        if child == 0:
            fine = sys.getallocatedblocks is blocks and len(sys._current_frames()) == 1
            import tracemalloc
            tracemalloc.start()
            tracemalloc.stop()
            os._exit(0 if fine else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    )
    ends_cleanly(program)


TRACE = (
    BUSY
    + """
    import tracemalloc

    def files(snapshot):
        return {trace.traceback[0].filename for trace in snapshot.traces}

    def use(n):
        import numpy
        kept = [numpy.zeros(5000) for _ in range(n)]
        return [bytes(1000) + str(k).encode() for k in range(n)]

    of_workers = {
        line for function in (work, handle, use) for _, _, line in function.__code__.co_lines()
        if line is not None and line > function.__code__.co_firstlineno
    }
    assert len(of_workers) > 8
    stop = owngil.Event()
    with owngil.Pool(2) as pool:
        futures = [pool.submit(work, stop), pool.submit(handle, stop)]
        for future in futures:
            while not future.running():
                time.sleep(0.001)
        for k in range(int(sys.argv[1])):
            tracemalloc.start(1 + k % 5)
            assert tracemalloc.is_tracing()
            before = owngil.Interpreter()
            before.call(use, 100)
            own = [str(j) * 40 for j in range(1000)]
            snapshot = tracemalloc.take_snapshot()
            assert __file__ in files(snapshot)
            assert tracemalloc.get_object_traceback(own[500]) is not None
            lines = {trace.traceback[0].lineno for trace in snapshot.traces if trace.traceback[0].filename == __file__}
            assert lines.isdisjoint(of_workers), lines & of_workers
            before.close()
            with owngil.Interpreter() as it:
                it.call(use, 100)
                if k % 2:
                    tracemalloc.clear_traces()
                if k % 3:
                    tracemalloc.stop()
                    assert not tracemalloc.is_tracing()
                it.call(use, 100)
            tracemalloc.stop()
        stop.set()
        for future in futures:
            future.result()
    print("ends")
"""
)


def test_tracemalloc_sees_the_memory_of_main_only(ends_cleanly, rounds):
    assert ends_cleanly(TRACE, str(rounds(6, 200))) == "ends\n"


STARTED_BEFORE = """
    import sys, tracemalloc
    if not tracemalloc.is_tracing():
        tracemalloc.start(3)
    kept = [str(j) * 40 for j in range(1000)]
    import owngil

    def use():
        return [str(k) * 30 for k in range(1000)]

    for _ in range(3):
        with owngil.Pool(2) as pool:
            assert len(pool.submit(use).result()) == 1000
            assert list(pool.map(abs, range(100))) == list(range(100))
    assert tracemalloc.get_object_traceback(kept[500]) is not None
    assert tracemalloc.take_snapshot().traces
    tracemalloc.stop()
    with owngil.Interpreter() as it:
        print(it.call(len, "abc"))
"""


@pytest.mark.parametrize("option", ["", "1", "25"])
def test_tracemalloc_may_be_started_before_the_workers(ends_cleanly, monkeypatch, option):
    monkeypatch.setenv("PYTHONTRACEMALLOC", option)
    assert ends_cleanly(STARTED_BEFORE) == "3\n"


STARTED_IN_BETWEEN = """
    import tracemalloc
    from tracemalloc import start
    import owngil
    start()
    kept = [str(j) * 40 for j in range(1000)]
    with owngil.Interpreter() as it:
        assert len(it.call(lambda: [str(k) * 30 for k in range(1000)])) == 1000
    assert tracemalloc.get_object_traceback(kept[500]) is not None
    print("ends")
"""


def test_tracemalloc_may_be_started_between_the_import_and_the_first_worker(ends_cleanly):
    assert ends_cleanly(STARTED_IN_BETWEEN) == "ends\n"


EARLY = """
    import ctypes, sys
    import early
    import owngil
    count = ctypes.CDLL(early.__file__).count_kept
    before = count()
    assert before > 0
    for k in range(3):
        with owngil.Interpreter() as it:
            it.call(pow, 2, 3)
        assert count() >= before  # reads what the init function has made in main
    print("ends")
"""


@pytest.mark.skipif(sys.version_info < (3, 13), reason="before 3.13, CPython runs the init function in the worker")
def test_what_an_init_function_makes_in_main_stays(ends_cleanly, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("early")
    source = Path(__file__).parents[1] / "extensions" / "early.c"
    libraries.compile_c(folder / f"early{build.SUFFIX}", source)
    # CPython imports it as the interpreter is made, before owngil's import hook is there.
    (folder / "sitecustomize.py").write_text("import early\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    assert ends_cleanly(EARLY) == "ends\n"


WITHOUT_EXIT_FUNCTIONS = """
    import sys, tracemalloc
    import owngil

    def lose():
        import atexit
        getattr(atexit, sys.argv[1])()

    for _ in range(2):
        with owngil.Interpreter() as it:
            it.call(lose)
            tracemalloc.start()  # pauses the worker
            assert it.call(pow, 2, 3) == 8
            tracemalloc.stop()
        tracemalloc.start()
        tracemalloc.stop()
    assert sys.getallocatedblocks() > 0
    print("ends")
"""


@pytest.mark.parametrize("name", ["_clear", "_run_exitfuncs"])
def test_a_task_may_remove_the_exit_functions_of_its_worker(run_program, name):
    done = run_program(WITHOUT_EXIT_FUNCTIONS, name)
    assert (done.returncode, done.stdout) == (0, "ends\n"), done.stderr
