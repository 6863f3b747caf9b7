import pickle
import sys
import textwrap
import threading

import pytest
from patience import HANGS_AFTER

import owngil


class Custom(Exception):
    pass


class Unpicklable(Exception):
    def __reduce__(self):
        return Unpicklable, ()  # and never an instance

    def __new__(cls, *args):
        if not args:
            raise TypeError("no arguments")
        return super().__new__(cls, *args)

    def __str__(self):
        return "two arguments"


def test_exec_binds_names_and_keeps_state(interpreter, capsys):
    interpreter.exec("print(message)", message="Hello")
    interpreter.exec("""
        counter = 1
        counter += len(message)
    """)
    interpreter.exec("print(counter)")
    assert capsys.readouterr().out == "Hello\n6\n"


def test_exec_shows_source_lines_in_tracebacks(interpreter):
    with pytest.raises(ZeroDivisionError) as caught:
        interpreter.exec("x = 0\ny = 1 / x")
    text = str(caught.value.__cause__)
    assert "y = 1 / x" in text
    assert "line 2" in text
    assert "owngil/_worker/" not in text


def test_exec_reports_syntax_errors(interpreter):
    with pytest.raises(SyntaxError):
        interpreter.exec("if")


def test_call_returns_and_takes_keywords(interpreter):
    assert interpreter.call(int, "ff", base=16) == 255


def test_each_interpreter_has_its_own_modules_and_id(interpreter):
    import json

    json.owngil_mark = 1
    try:
        with owngil.Interpreter("second") as second:
            assert second.name == "second"
            assert len({0, interpreter.id, second.id}) == 3
            assert not second.call(lambda: hasattr(__import__("json"), "owngil_mark"))
    finally:
        del json.owngil_mark


def test_an_interpreter_runs_in_its_own_thread_with_its_name(interpreter):
    def where():
        import threading

        return threading.get_native_id(), open(f"/proc/self/task/{threading.get_native_id()}/comm").read().strip()

    native, name = interpreter.call(where)
    assert native != threading.get_native_id()
    assert name == interpreter.name[:15]


def test_functions_by_value_are_never_stale(interpreter):
    factor = 2

    def scaled(x):
        return x * factor

    assert interpreter.call(scaled, 10) == 20
    factor = 3
    assert interpreter.call(scaled, 10) == 30

    namespace = {"__name__": "__main__"}
    exec("def f():\n    return value\nvalue = 1", namespace)
    assert interpreter.call(namespace["f"]) == 1
    namespace["value"] = 2
    assert interpreter.call(namespace["f"]) == 2
    exec("def f():\n    return -value", namespace)
    assert interpreter.call(namespace["f"]) == -2


def test_exceptions_keep_type_arguments_and_notes(interpreter):
    def fail():
        error = KeyError("missing", 3)
        error.add_note("look elsewhere")
        raise error

    with pytest.raises(KeyError) as caught:
        interpreter.call(fail)
    assert caught.value.args == ("missing", 3)
    assert caught.value.__notes__ == ["look elsewhere"]
    assert isinstance(caught.value.__cause__, owngil.RemoteTraceback)
    assert f"In worker '{interpreter.name}'" in str(caught.value.__cause__)
    assert "raise error" in str(caught.value.__cause__)


def test_the_remote_traceback_shows_the_whole_chain(interpreter):
    def fail():
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError as error:
            raise ValueError("outer") from error

    with pytest.raises(ValueError, match="outer") as caught:
        interpreter.call(fail)
    assert "ZeroDivisionError" in str(caught.value.__cause__)


def test_exceptions_of_classes_made_here_are_of_the_same_class(interpreter):
    class Local(Exception):
        pass

    def fail():
        raise Local(7)

    with pytest.raises(Local):
        interpreter.call(fail)


def test_an_exception_that_cannot_be_rebuilt_arrives_as_remote_error(interpreter):
    def fail(kind):
        raise kind(1, 2)

    with pytest.raises(owngil.RemoteError, match="two arguments") as caught:
        interpreter.call(fail, Unpicklable)
    assert caught.value.type_name.endswith("Unpicklable")
    assert "raise kind(1, 2)" in str(caught.value.__cause__)


def test_an_exception_that_cannot_be_pickled_arrives_as_remote_error(interpreter):
    def fail():
        import threading

        raise ValueError(threading.Lock())

    with pytest.raises(owngil.RemoteError, match="lock") as caught:
        interpreter.call(fail)
    assert caught.value.type_name == "ValueError"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_base_exceptions_arrive_and_the_worker_lives_on(interpreter, kind):
    def fail():
        raise kind(3)

    with pytest.raises(kind):
        interpreter.call(fail)
    assert interpreter.call(abs, -1) == 1


def test_sys_exit_in_exec_arrives(interpreter):
    with pytest.raises(SystemExit) as caught:
        interpreter.exec("import sys; sys.exit(5)")
    assert caught.value.code == 5


@pytest.mark.parametrize("value", [threading.Lock(), (x for x in "abc"), sys._getframe()])
def test_unpicklable_arguments_are_named(interpreter, value):
    kind = type(value).__name__
    with pytest.raises((TypeError, pickle.PicklingError), match=rf"math\.sqrt\(\) cannot be sent.*'.*{kind}'"):
        import math

        interpreter.call(math.sqrt, [1, {"deep": value}])
    assert interpreter.call(abs, -1) == 1


def test_unpicklable_results_are_named(interpreter):
    with pytest.raises(TypeError, match=r"the result of \S*lock_maker\(\) cannot be sent back.*'_thread\.lock'"):

        def lock_maker():
            import threading

            return [threading.Lock()]

        interpreter.call(lock_maker)
    assert interpreter.call(abs, -1) == 1


def test_a_result_that_cannot_be_rebuilt_says_so(interpreter):
    def make():
        class Bad:
            def __reduce__(self):
                return int, ("not a number",)

        return Bad()

    with pytest.raises(ValueError, match="not a number") as caught:
        interpreter.call(make)
    assert any("cannot be rebuilt at the caller" in note for note in caught.value.__notes__)


def test_use_after_close_is_an_error_at_once():
    it = owngil.Interpreter()
    it.close()
    it.close()
    with pytest.raises(RuntimeError, match="closed"):
        it.call(abs, 1)
    with pytest.raises(RuntimeError, match="closed"):
        it.exec("pass")
    it.interrupt()
    assert not it.is_running


def test_close_finishes_submitted_tasks():
    it = owngil.Interpreter()
    futures = [it.submit(abs, -k) for k in range(100)]
    it.close()
    assert [future.result(0) for future in futures] == list(range(100))


def test_is_running_and_interrupt(interpreter):
    started = owngil.Channel()

    def spin(channel):
        channel.send("go")
        while True:
            pass

    future = interpreter.submit(spin, started)
    started.recv()
    assert interpreter.is_running
    assert future.running()
    assert not future.cancel()
    interpreter.interrupt()
    with pytest.raises(KeyboardInterrupt):
        future.result(300)
    assert interpreter.call(abs, -1) == 1
    interpreter.interrupt()
    assert interpreter.call(abs, -1) == 1


def test_interrupt_ends_a_wait_on_a_channel(interpreter):
    started, never = owngil.Channel(), owngil.Channel()

    def wait(started, never):
        started.send(None)
        never.recv()

    future = interpreter.submit(wait, started, never)
    started.recv()
    while not future.done():  # the interrupt may hit the task before it reaches recv()
        interpreter.interrupt()
        try:
            future.result(0.01)
        except (TimeoutError, KeyboardInterrupt):
            continue
    with pytest.raises(KeyboardInterrupt):
        future.result(0)
    never.send(1)
    assert never.recv(0) == 1


def test_an_interrupt_hits_only_its_own_task(interpreter):
    def count():
        total = 0
        for k in range(1000):
            total += k
        return total

    outcomes = {"done": 0, "interrupted": 0}
    for _ in range(300):
        future = interpreter.submit(count)
        interpreter.interrupt()
        try:
            assert future.result(300) == 499500
            outcomes["done"] += 1
        except KeyboardInterrupt:
            outcomes["interrupted"] += 1
        assert interpreter.call(abs, -2) == 2
    assert sum(outcomes.values()) == 300


def test_output_arrives_before_the_result_and_unchanged(interpreter, capsys):
    def talk():
        import sys

        print("one", "two")
        print("no newline", end="", flush=True)
        sys.stderr.write("oops\n")
        sys.stdout.buffer.write("bytes é\n".encode())
        print("ü€😀\udc80")
        return 1

    interpreter.call(talk)
    captured = capsys.readouterr()
    assert captured.out == "one two\nno newlinebytes é\nü€😀\\udc80\n"  # no stream of UTF-8 takes a lone surrogate
    assert captured.err == "oops\n"


def test_output_of_a_thread_that_the_task_left_behind(interpreter, capsys):
    done = owngil.Channel()

    def leave_thread(done):
        import threading

        def later():
            print("from a thread")
            done.send(1)

        threading.Thread(target=later).start()

    interpreter.call(leave_thread, done)
    done.recv(300)
    interpreter.call(abs, 1)
    assert "from a thread\n" in capsys.readouterr().out


def test_a_closed_stdout_loses_no_result(interpreter, monkeypatch):
    import io

    broken = io.StringIO()
    broken.close()
    monkeypatch.setattr(sys, "stdout", broken)
    assert interpreter.call(lambda: print("lost") or 5) == 5


def test_a_task_that_closes_its_stdout_loses_no_result():
    with owngil.Interpreter() as it:
        assert it.call(lambda: __import__("sys").stdout.close() or 5) == 5
        assert it.call(abs, -1) == 1


def test_the_worker_knows_its_thread_by_name(interpreter):
    assert interpreter.call(lambda: __import__("threading").current_thread().name) == interpreter.name


def test_a_thread_that_ended_leaves_no_trace_at_close(ends_cleanly):
    source = """
        import owngil
        with owngil.Interpreter() as it:
            it.exec("import threading; t = threading.Thread(target=print, args=('hi',)); t.start(); t.join()")
    """
    assert ends_cleanly(source) == "hi\n"


def test_recursion_goes_as_deep_as_in_main():
    def depth(limit):
        """Recurse through C, as sort keys do, and count the calls."""
        import contextlib
        import sys

        sys.setrecursionlimit(limit)
        deepest = 0

        def down(n):
            nonlocal deepest
            deepest = n
            sorted([1], key=lambda _: down(n + 1))

        with contextlib.suppress(RecursionError):
            down(0)
        return deepest

    before = sys.getrecursionlimit()
    try:
        here = depth(2000)
        with owngil.Interpreter() as it:
            there = it.call(depth, 2000)
    finally:
        sys.setrecursionlimit(before)
    assert there >= 0.95 * here > 100


def test_settings_of_the_caller_hold_in_the_worker(tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def f():\n    return 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["program", "--flag"])
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(2345)
    try:
        import only_here

        with owngil.Interpreter() as it:
            assert it.call(only_here.f) == 42
            assert it.call(lambda: (__import__("sys").argv, __import__("sys").getrecursionlimit())) == (
                ["program", "--flag"],
                2345,
            )
    finally:
        sys.setrecursionlimit(before)


def test_an_interpreter_cannot_be_sent():
    with owngil.Interpreter() as it, pytest.raises(TypeError, match="stays where it was made"):
        it.call(print, it)


def test_a_forgotten_interpreter_ends():
    import gc

    it = owngil.Interpreter("forgotten one")
    collector = it._dispatcher._collector
    del it
    gc.collect()
    collector.join(HANGS_AFTER)
    assert not collector.is_alive()


def test_processes_may_start_in_workers_but_not_fork(interpreter):
    def child():
        import subprocess
        import sys

        return subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, check=True).stdout

    assert interpreter.call(child) == b"42\n"
    with pytest.raises(RuntimeError, match="fork"):
        interpreter.call(lambda: __import__("os").fork())


def test_interrupting_a_waiting_caller_interrupts_the_call_in_the_worker(run_program):
    done = run_program("""
        import signal, threading
        import owngil

        def press_ctrl_c():
            started.recv()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        with owngil.Interpreter() as it:
            started = owngil.Channel()
            threading.Thread(target=press_ctrl_c).start()
            def spin(started):
                started.send(None)
                while True:
                    pass
            try:
                it.call(spin, started)
            except KeyboardInterrupt:
                print("stopped", it.call(abs, -1))
    """)
    assert (done.stdout, done.stderr, done.returncode) == ("stopped 1\n", "", 0)


def test_bound_methods_are_those_that_were_sent(ends_cleanly, tmp_path):
    (tmp_path / "methods.py").write_text(
        textwrap.dedent(
            """
            from types import MethodType

            class Base:
                def name(self):
                    return "Base.name"

                @classmethod
                def kind(cls):
                    return f"kind of {cls.__name__}"

            def name(self):
                return "name"

            class Derived(Base):
                def name(self):
                    return "Derived.name"

                def __private(self):
                    return "private"

                def methods(self):
                    return [self.name, super().name, self.__private, MethodType(name, self), self.kind, super().kind]
            """
        )
    )
    out = ends_cleanly(
        """
        import methods, owngil

        with owngil.Interpreter() as it:
            for method in methods.Derived().methods():
                print(it.call(method), it.call(lambda methods: methods[0](), [method]), sep=", ")
        """
    )
    names = ["Derived.name", "Base.name", "private", "name", "kind of Derived", "kind of Derived"]
    assert out.splitlines() == [f"{name}, {name}" for name in names]
