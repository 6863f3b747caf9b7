"""Globals that functions of a script or notebook assign in a worker: which tasks find them, and when not."""

import gc
import textwrap
import weakref
from functools import partial

import pytest

import owngil

PROGRAM = """
    placeholder = None
    count = 0

    def assign(value):
        global placeholder, fresh
        placeholder = value
        fresh = value + 1

    def read(_=None):
        return placeholder, fresh

    def increment(_=None):
        global count
        count += 1
        return count

    def delete():
        global fresh
        del fresh
"""


class Main:
    """A namespace that is sent by value, as a script's namespace is."""

    def __init__(self, source=PROGRAM):
        self.__dict__["names"] = {"__name__": "__main__"}
        exec(textwrap.dedent(source), self.names)

    def __getattr__(self, name):
        return self.names[name]

    def __setattr__(self, name, value):
        self.names[name] = value


@pytest.fixture
def main():
    return Main()


@pytest.fixture
def interpreter():
    with owngil.Interpreter() as interpreter:
        yield interpreter


def test_tasks_find_globals_that_an_initializer_assigned(main):
    with owngil.Pool(2, initializer=main.assign, initargs=(5,)) as pool:
        assert list(pool.map(main.read, range(100), chunksize=3)) == [(5, 6)] * 100
        assert pool.submit(main.read).result() == (5, 6)


def test_a_replacement_worker_has_the_initializers_globals(main):
    with owngil.Pool(1, initializer=main.assign, initargs=(5,), max_tasks_per_child=1) as pool:
        assert [pool.submit(main.read).result() for _ in range(3)] == [(5, 6)] * 3


def test_every_worker_finds_globals_that_a_broadcast_assigned(main):
    with owngil.Pool(2) as pool:
        pool.broadcast(main.assign, 5)
        assert pool.broadcast(main.read) == [(5, 6)] * 2


def test_calls_go_on_where_the_last_one_left_off(main, interpreter):
    assert [interpreter.call(main.increment) for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("chunksize", [1, 3, None])
def test_chunks_of_a_map_make_no_difference(main, chunksize):
    with owngil.Pool(1) as pool:
        assert list(pool.map(main.increment, range(20), chunksize=chunksize)) == list(range(1, 21))


def test_a_later_assignment_of_the_caller_counts(main, interpreter):
    interpreter.call(main.assign, 5)
    main.placeholder = "the caller's"
    assert interpreter.call(main.read) == ("the caller's", 6)
    assert interpreter.call(main.read) == ("the caller's", 6)
    interpreter.call(main.assign, 50)
    assert interpreter.call(main.read) == (50, 51)


def test_a_later_definition_of_the_caller_counts(main, interpreter):
    interpreter.call(main.assign, 5)
    main.fresh = "the caller's"
    assert interpreter.call(main.read) == (5, "the caller's")


def test_a_global_that_the_caller_deletes_is_gone(main, interpreter):
    interpreter.call(main.assign, 5)
    del main.names["placeholder"]
    with pytest.raises(NameError):
        interpreter.call(main.read)


def test_a_global_that_the_worker_deletes_is_gone(main, interpreter):
    interpreter.call(main.assign, 5)
    interpreter.call(main.delete)
    with pytest.raises(NameError):
        interpreter.call(main.read)


def test_a_function_that_was_sent_before_the_assignment_finds_it(main):
    go = owngil.Event()
    with owngil.Pool(1) as pool:
        pool.submit(go.wait)
        pool.submit(main.assign, 5)
        first = pool.submit(main.read)
        go.set()
        assert first.result() == (5, 6)


def test_an_assignment_is_kept_though_the_call_raises(interpreter):
    main = Main("""
        def assign():
            global kept
            kept = 1
            raise ValueError("after it")

        def read():
            return kept
    """)
    with pytest.raises(ValueError, match="after it"):
        interpreter.call(main.assign)
    assert interpreter.call(main.read) == 1


def test_functions_that_are_reached_from_others(interpreter):
    main = Main("""
        def assign(value):
            global inner
            inner = value

        def assign_all(value):
            def deep():
                global deepest
                deepest = value
            deep()
            assign(value)

        class Reader:
            def read(self):
                return inner, [(lambda: deepest)() for _ in range(1)][0]
    """)
    interpreter.call(partial(main.assign_all, 5))
    assert interpreter.call(main.Reader().read) == (5, 5)


def test_a_name_that_is_never_assigned_is_still_an_error(interpreter):
    main = Main("def read(): return nobody")
    with pytest.raises(NameError, match="nobody"):
        interpreter.call(main.read)


def test_code_and_functions_share_globals_that_the_caller_does_not_have(main, interpreter, capfd):
    interpreter.exec("fresh = 1")
    assert interpreter.call(main.read) == (None, 1)
    interpreter.call(main.assign, 5)
    interpreter.exec("print(placeholder, fresh)")
    assert capfd.readouterr().out == "5 6\n"


def test_the_callers_value_hides_an_assignment_of_code(main, interpreter, capfd):
    interpreter.exec("placeholder = 1; fresh = 2")
    main.placeholder = "the caller's"
    assert interpreter.call(main.read) == ("the caller's", 2)
    interpreter.exec("print(placeholder)")
    assert capfd.readouterr().out == "1\n"


def test_workers_have_their_own_globals(main):
    with owngil.Interpreter() as first, owngil.Interpreter() as second:
        first.call(main.assign, 1)
        second.call(main.assign, 2)
        assert first.call(main.read) == (1, 2)
        assert second.call(main.read) == (2, 3)
    assert main.placeholder is None
    assert "fresh" not in main.names


def test_a_returned_function_uses_the_callers_globals(main, interpreter):
    interpreter.call(main.assign, 5)
    main.fresh = "the caller's"
    returned = interpreter.call(lambda fn: fn, main.read)
    assert returned() == (5, "the caller's")  # the function brings the worker's last value


def test_a_task_run_in_place_of_a_waiting_one_shares_its_globals(main):
    main = Main("""
        value = 0

        def increment():
            global value
            value += 1
            return value

        def outer(pool):
            global value
            value += 10
            return value, pool.submit(increment).result(), value
    """)
    with owngil.Pool(1) as pool:
        assert pool.submit(main.outer, pool).result() == (10, 11, 10)
        assert pool.submit(main.increment).result() == 12


def test_globals_that_came_with_the_function_are_not_kept(interpreter):
    main = Main("""
        import weakref

        class Large:
            pass

        large = Large()

        def assign():
            global reference
            reference = weakref.ref(large)

        def is_alive():
            return reference() is not None
    """)
    interpreter.call(main.assign)
    assert interpreter.call(lambda: __import__("gc").collect() >= 0)
    assert not interpreter.call(main.is_alive)


def test_the_callers_calls_of_a_returned_function_count(interpreter):
    main = Main("""
        n = 0

        def make():
            def increment():
                global n
                n += 1
                return n
            return increment
    """)
    increment = interpreter.call(main.make)
    assert [increment(), increment(), interpreter.call(increment)] == [1, 2, 3]
    assert [increment(), increment(), interpreter.call(increment)] == [3, 4, 5]


def test_assignments_of_a_worker_as_a_caller_count(interpreter):
    main = Main("""
        import owngil

        x = 0

        def assign():
            global x
            x = 100 + x
            return x

        def read():
            return x

        def outer():
            global x
            with owngil.Interpreter() as interpreter:
                x = 1
                first = interpreter.call(assign)
                x = 2
                return first, interpreter.call(read)
    """)
    assert interpreter.call(main.outer) == (101, 2)


def test_workers_count_for_themselves():
    main = Main("""
        x = "main's"

        def read():
            return x
    """)
    with owngil.Pool(1) as pool, owngil.Interpreter() as other:
        other.exec("def assign():\n    global x\n    x = 'of another'\n")
        other.exec("pool.submit(assign).result()", pool=pool)
        assert pool.submit(main.read).result() == "main's"


def test_names_of_builtins(interpreter):
    main = Main("""
        def assign():
            global sum
            sum = 7

        def read():
            return sum, max
    """)
    interpreter.call(main.assign)
    assert interpreter.call(main.read) == (7, max)


def test_an_older_function_changes_nothing(interpreter):
    main = Main("""
        x = "a"

        def assign():
            global x
            x = "worker's " + x

        def make():
            return lambda: x

        def read():
            return x
    """)
    interpreter.call(main.assign)
    old = interpreter.call(main.make)
    main.x = "b"
    interpreter.call(main.assign)
    interpreter.call(old)
    assert interpreter.call(main.read) == "worker's b"


def test_the_callers_objects_are_not_kept(interpreter):
    main = Main("""
        class Large:
            pass

        state = Large()

        def replace():
            global state
            state = None
    """)
    reference = weakref.ref(main.state)
    interpreter.call(main.replace)
    del main.names["state"]
    gc.collect()
    assert reference() is None


def test_a_task_that_receives_functions(interpreter):
    main = Main("""
        n = 0

        def serve(requests, answers):
            from owngil._wire.globals import opened

            for fn in requests:
                answers.send((fn(), len(opened)))

        def increment():
            global n
            n += 1
            return n
    """)
    requests, answers = owngil.Channel(), owngil.Channel()
    served = interpreter.submit(main.serve, requests, answers)
    seen = []
    for _ in range(50):
        requests.send(main.increment)
        seen.append(answers.recv(300))
    requests.close()
    served.result(300)
    assert [n for n, _ in seen] == list(range(1, 51))
    assert max(count for _, count in seen) < 50  # the number of namespaces stays small
    assert interpreter.call(main.increment) == 51
