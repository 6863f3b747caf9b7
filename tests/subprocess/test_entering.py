"""Threads from outside may enter a worker's interpreter until its atexit functions have run, by all ways of CPython."""

import sys
from pathlib import Path

import pytest
from extensions import build, libraries

SOURCE = Path(__file__).parents[1] / "extensions" / "entering.c"
GUARDS = pytest.mark.skipif(sys.version_info < (3, 15), reason="PEP 788 is in 3.15")


@pytest.fixture(scope="session")
def entering(tmp_path_factory):
    folder = tmp_path_factory.mktemp("entering")
    libraries.compile_c(folder / f"entering{build.SUFFIX}", SOURCE)
    return str(folder)


LATE = """
    import logging
    import sys
    import owngil
    logging.getLogger("concurrent.futures").disabled = True  # it shows the initializer's exception
    sys.path.insert(0, sys.argv[1])

    def fail():
        raise ValueError("the initializer fails")

    def use(register):
        import {register}, entering
        entering.start("PyGILState", lambda: print("entered"))
        {call}

    {run}
    print("closed")
"""
RUN = "with owngil.Interpreter() as it: it.call(use, 0)"
BROKEN = """
    def initialize():
        use(0)
        raise ValueError("the initializer fails")
    try:
        with owngil.Pool(1, initializer=initialize) as pool:
            pool.submit(abs, 1).result()
    except owngil.BrokenPoolError:
        pass
"""


@pytest.mark.parametrize(
    ("register", "call"),
    [
        ("atexit", "atexit.register(entering.join)"),
        ("threading", "threading._register_atexit(entering.join)"),
        ("threading", "threading.Thread(target=entering.join).start()"),
    ],
    ids=["atexit", "threading", "thread"],
)
def test_the_end_of_an_interpreter_may_join_a_thread_that_enters_it(ends_cleanly, entering, register, call):
    program = LATE.format(register=register, call=call, run=RUN)
    assert ends_cleanly(program, entering).split() == ["entered", "closed"]


def test_the_end_of_a_worker_that_could_not_start_may_join_such_a_thread(ends_cleanly, entering):
    program = LATE.format(register="atexit", call="atexit.register(entering.join)", run=BROKEN.strip())
    assert ends_cleanly(program, entering).split() == ["entered", "closed"]


WAYS = """
    import sys
    import owngil
    sys.path.insert(0, sys.argv[1])

    def use(how):
        import entering
        entering.start(how, int)
        return entering.join()

    with owngil.Interpreter() as a, owngil.Interpreter() as b:
        for how in ("PyGILState", "view of main", "own view", "guard"):
            print(how, a.call(use, how) == a.id, b.call(use, how) == b.id)
"""


@GUARDS
def test_all_ways_lead_into_the_own_interpreter(ends_cleanly, entering):
    lines = ends_cleanly(WAYS, entering).splitlines()
    assert [line.split()[-2:] for line in lines] == [["True", "True"]] * 4


GUARDED = """
    import sys
    import owngil
    sys.path.insert(0, sys.argv[1])

    def use(how):
        import entering, time
        entered = __import__("threading").Event()

        def work():
            entered.set()
            for _ in range(100):
                time.sleep(0.01)  # for longer than a worker waits for threads without a guard
            print("worked")

        entering.start(how, work)
        entered.wait()

    with owngil.Interpreter() as it:
        it.call(use, sys.argv[2])
    print("closed")
"""


@GUARDS
@pytest.mark.parametrize("how", ["view of main", "own view", "guard"])
def test_a_worker_waits_for_a_thread_with_a_guard(ends_cleanly, entering, how):
    lines = ends_cleanly(GUARDED, entering, how).split()
    assert lines[-1] == "closed"
    assert lines[0] == "worked"


AGAIN = """
    import sys
    import owngil
    sys.path.insert(0, sys.argv[1])

    def use():
        import entering, threading
        entered = threading.Event()
        entering.start("again and again", entered.set)
        entered.wait()

    for _ in range(int(sys.argv[2])):
        with owngil.Interpreter() as it:
            it.call(use)
    print("closed")
"""


@GUARDS
def test_a_thread_that_enters_until_it_is_refused(ends_cleanly, entering, rounds):
    """The worker waits for a guard, so none may be had later, or the thread would be stopped with it, for ever."""
    assert ends_cleanly(AGAIN, entering, str(rounds(20, 500))) == "closed\n"


AFTER_THE_END = """
    import sys
    import owngil
    sys.path.insert(0, sys.argv[1])

    def use():
        import entering
        entering.start("PyGILState", int)

    for _ in range(3):
        with owngil.Interpreter() as it:
            it.call(use)  # the thread never enters; its library stays
    print("closed")
"""


def test_a_thread_that_does_not_enter_holds_nothing_up(ends_cleanly, entering):
    assert ends_cleanly(AFTER_THE_END, entering) == "closed\n"
