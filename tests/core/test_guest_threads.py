"""Guest threads, which Python did not start: PyGILState_Ensure() brings them into their worker's interpreter."""

import sys
from pathlib import Path

import pytest
from extensions import build, libraries

import owngil

WORKERS = 4
CALLS = 200
WAYS = ["pthread", "dlsym", "std", "thrd", "pythread", "constructor"]
SOURCE = Path(__file__).parents[1] / "extensions" / "guests.cpp"


@pytest.fixture(scope="session")
def guests(tmp_path_factory):
    """Give the folder with the modules guests and guests_early; the latter starts a thread when it is loaded."""
    folder = tmp_path_factory.mktemp("guests")
    libraries.compile_cxx(folder / f"guests{build.SUFFIX}", SOURCE)
    libraries.compile_cxx(
        folder / f"guests_early{build.SUFFIX}", SOURCE, "-DTHREAD_IN_CONSTRUCTOR", "-DNAME=PyInit_guests_early"
    )
    return str(folder)


@pytest.fixture(scope="module")
def workers(guests):
    sys.path.insert(0, guests)
    workers = [owngil.Interpreter() for _ in range(WORKERS)]
    yield workers
    for worker in workers:
        worker.close()
    sys.path.remove(guests)


def call_often(how, times, mark):
    import importlib

    import __main__

    module = importlib.import_module("guests_early" if how == "constructor" else "guests")
    __main__.mark = mark
    outcomes = {module.run(how, lambda k=k: sys.modules["__main__"].mark + k) for k in range(times)}
    return sorted(outcomes)


@pytest.mark.parametrize("how", WAYS)
def test_a_guest_thread_enters_its_worker(workers, how):
    futures = [worker.submit(call_often, how, CALLS, 1000 * k) for k, worker in enumerate(workers)]
    for k, (worker, future) in enumerate(zip(workers, futures, strict=True)):
        assert future.result() == [(1000 * k + n, worker.id, "") for n in range(CALLS)]


def test_threads_of_python_enter_their_worker_too(workers):
    def from_threads():
        from threading import Thread

        import guests

        outcomes = [guests.own(lambda: 1)]
        threads = [Thread(target=lambda: outcomes.append(guests.own(lambda: 1))) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes

    futures = [worker.submit(from_threads) for worker in workers]
    for worker, future in zip(workers, futures, strict=True):
        assert future.result() == [(1, worker.id, "")] * 11


def test_the_callable_may_raise(workers, capfd):
    def raising():
        import guests

        def refuse():
            raise ValueError("refused")

        return guests.run("pthread", refuse)

    assert workers[0].call(raising) == (None, workers[0].id, "the call failed")


def address_of_enter():
    import guests

    return guests.enter_address()


@pytest.mark.parametrize("kind", ["CFUNCTYPE", "PYFUNCTYPE"], ids=["without its GIL", "with its GIL"])
def test_a_thread_of_the_main_interpreter_enters_a_worker(workers, kind):
    """The thread returns to its own interpreter, where PyGILState_Ensure() works as before."""
    import ctypes

    in_main = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 5)  # called through PyGILState_Ensure()
    for worker in workers:
        enter = getattr(ctypes, kind)(ctypes.c_longlong)(worker.call(address_of_enter))
        for _ in range(20):
            assert enter() == worker.id
            assert ctypes.pythonapi.PyGILState_Check() == 1
            assert in_main() == 5


def test_a_thread_of_one_worker_enters_another(workers):
    def enter(addresses):
        import ctypes

        import guests

        ids = [ctypes.CFUNCTYPE(ctypes.c_longlong)(address)() for address in addresses]
        return ids, guests.own(lambda: 3), guests.run("pthread", lambda: 4)

    addresses = [worker.call(address_of_enter) for worker in workers]
    futures = [worker.submit(enter, addresses) for worker in workers]
    ids = [worker.id for worker in workers]
    for worker, future in zip(workers, futures, strict=True):
        assert future.result() == (ids, (3, worker.id, ""), (4, worker.id, ""))


def test_ctypes_callbacks_from_guest_threads(workers):
    """ctypes is one of Python's own modules, and its callbacks must enter the interpreter that made them."""

    def callback():
        import ctypes

        import guests

        here = guests.own(lambda: 0)[1]
        ids = []
        thread_function = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)

        def body(argument):
            ids.append(guests.own(lambda: 0)[1])
            return None

        function = thread_function(body)
        process = ctypes.CDLL(None)
        thread = ctypes.c_ulong()
        assert process.pthread_create(ctypes.byref(thread), None, function, None) == 0
        process.pthread_join(thread, None)
        return ids == [here]

    assert workers[0].call(callback)


def test_objects_that_a_guest_makes_live_as_long_as_the_entered_worker(guests, ends_cleanly):
    """Memory belongs to the interpreter in which it is allocated, not to the interpreter of the allocating thread."""
    ends_cleanly(
        """
        import sys
        import owngil
        sys.path.insert(0, sys.argv[1])

        def prepare():
            import guests
            import __main__
            __main__.made = []
            def make():
                __main__.made.extend({"k": (k, str(k))} for k in range(100_000))
            guests.on_enter(make)
            return guests.enter_address()

        def enter(address):
            import ctypes
            return ctypes.CFUNCTYPE(ctypes.c_longlong)(address)()

        def check():
            import __main__
            for _ in range(3):
                __main__.made.extend({"k": (k, str(k))} for k in range(100_000))
            return all(each["k"][1] == str(each["k"][0]) for each in __main__.made)

        entered = owngil.Interpreter()
        address = entered.call(prepare)
        with owngil.Interpreter() as guest:
            assert guest.call(enter, address) == entered.id
        with owngil.Interpreter() as other:
            other.call(list, range(1_000_000))
            assert entered.call(check)
        entered.close()
        """,
        guests,
    )


LEFT = """
    import sys
    import owngil
    folder, how, delay, many = sys.argv[1:]
    sys.path.insert(0, folder)

    def leave_silent(how, delay):
        import importlib

        def silent():
            pass

        module = importlib.import_module("guests_early" if how == "constructor" else "guests")
        return all(module.leave(how, delay, silent) for _ in range(1 if how == "constructor" else 5))

    workers = [owngil.Interpreter() for _ in range(int(many))]
    assert all(worker.call(leave_silent, how, int(delay)) for worker in workers)
"""


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("end", ["closed", "exit", "closed, then exit later"])
def test_guest_threads_enter_when_the_worker_is_gone(guests, ends_cleanly, how, end):
    more = {
        "closed": "\n    for worker in workers: worker.close()\n",
        "exit": "",
        "closed, then exit later": "\n    for worker in workers: worker.close()\n    import time; time.sleep(0.2)\n",
    }[end]
    ends_cleanly(LEFT + more, guests, how, "50", "4")


@pytest.mark.parametrize("delay", ["0", "1", "5"])
def test_guest_threads_enter_while_the_worker_ends(guests, ends_cleanly, delay):
    ends_cleanly(LEFT + "\n    for worker in workers: worker.close()\n", guests, "pthread", delay, "4")


def test_guest_threads_enter_while_the_process_ends_and_a_thread_keeps_the_worker(guests, ends_cleanly):
    """A daemon thread that sleeps in C keeps the worker's interpreter until exit; guest threads enter all the while."""
    ends_cleanly(
        """
        import sys
        import owngil
        sys.path.insert(0, sys.argv[1])

        def leave():
            import guests
            import threading
            import time

            def silent():
                pass

            threading.Thread(target=time.sleep, args=[1000], daemon=True).start()
            return all(guests.leave("pthread", delay, silent) for delay in range(400, 1500, 10))

        worker = owngil.Interpreter()
        assert worker.call(leave)
        worker.close()
        """,
        guests,
    )
