"""Debuggers, profilers and tracers beside busy workers, in the main interpreter and in tasks."""

import importlib.util
import sys
import textwrap

import pytest

TOOLS = {
    "gc": """
        import gc
        gc.collect()
        assert any(thing is sys.modules for thing in gc.get_objects())
        assert gc.get_referrers(work)
        gc.freeze()
        gc.unfreeze()
        gc.callbacks.append(seen := lambda phase, info: names.append("fib"))
        gc.collect()
        gc.callbacks.remove(seen)
    """,
    "monitoring": """
        monitoring, tool = sys.monitoring, 4
        monitoring.use_tool_id(tool, "test")
        monitoring.register_callback(tool, monitoring.events.PY_START, lambda code, at: names.append(code.co_name))
        monitoring.set_events(tool, monitoring.events.PY_START)
        work(2)
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
    """,
    "settrace": """
        sys.settrace(lambda frame, event, arg: names.append(frame.f_code.co_name))
        work(2)
        sys.settrace(None)
    """,
    "setprofile": """
        sys.setprofile(lambda frame, event, arg: names.append(frame.f_code.co_name))
        work(2)
        sys.setprofile(None)
    """,
    "all threads": """
        import threading
        for each in threading.settrace_all_threads, threading.setprofile_all_threads:
            each(lambda frame, event, arg: names.append(frame.f_code.co_name))
            work(2)
            each(None)
    """,
    "cProfile": """
        import cProfile
        profile = cProfile.Profile()
        profile.runcall(work, 2)
        profile.create_stats()
        names.extend(name for _, _, name in profile.stats)
    """,
    "profiling.tracing": """
        import profiling.tracing
        profile = profiling.tracing.Profile()
        profile.runcall(work, 2)
        profile.create_stats()
        names.extend(name for _, _, name in profile.stats)
    """,
    "coverage": """
        import coverage
        for core in "ctrace", "sysmon":
            with open(file := f"measured_{os.getpid()}_{threading.get_native_id()}.py", "w") as source:
                source.write("x = 1\\ny = 2\\n")
            measured = coverage.Coverage(data_file=None, config_file=False)
            measured.set_option("run:core", core)
            measured.start()
            exec(compile("x = 1\\ny = 2\\n", os.path.abspath(file), "exec"))
            measured.stop()
            if measured.get_data().lines(os.path.abspath(file)) == [1, 2]:
                names.append("fib")
            else:
                names.clear()
                break
    """,
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_works_beside_busy_workers_and_in_them(tool, ends_cleanly):
    if tool.startswith("profiling") and sys.version_info < (3, 15):
        pytest.skip("profiling came with Python 3.15")
    if tool == "coverage" and importlib.util.find_spec("coverage") is None:
        pytest.skip("coverage is missing")
    ends_cleanly(
        """
    import os, sys, threading
    import owngil

    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    def work(n):
        return sum(fib(5) for _ in range(n))

    def use():
        names = []
        exec(sys.argv[1], {"work": work, "names": names, "os": os, "sys": sys, "threading": threading})
        assert "fib" in names, names
        return True

    def be_busy(stop, started):
        import numpy as np

        def recurse():
            return recurse() + 1

        started.wait()
        rounds = 0
        while not stop.is_set():
            work(5)
            [{k: str(k)} for k in range(100)]
            (np.arange(1000.0) * 2).sum()
            try:
                recurse()
            except RecursionError:
                rounds += 1
        return rounds

    def start_and_close(stop):
        while not stop.is_set():
            with owngil.Interpreter() as it:
                it.call(work, 1)

    stop, started = owngil.Event(), owngil.Barrier(3)
    with owngil.Pool(2) as busy, owngil.Pool(1) as pool:
        futures = [busy.submit(be_busy, stop, started) for _ in range(2)]
        started.wait()
        starter = threading.Thread(target=start_and_close, args=(stop,))
        starter.start()
        try:
            in_tasks = [pool.submit(use) for _ in range(4)]
            for _ in range(20):
                use()
            for future in in_tasks:
                assert future.result()
        finally:
            stop.set()
        starter.join()
        for future in futures:
            future.result()
    """,
        textwrap.dedent(TOOLS[tool]),
    )
