"""Output of workers arrives at the caller in whole lines, before the task's result, and in any stream."""

import io
import sys
import threading

import pytest

import owngil
from owngil import _core
from owngil._caller import stdio
from owngil._wire.protocol import STDERR, STDOUT

# From the worker to the caller


def test_lines_of_workers_that_print_at_once_stay_whole(pool, capsys):
    def talk(name):
        for number in range(300):
            print(name, number, "x" * (number % 50), sep="\t")
            print("a\nb", end=f" {name}\n")
            sys.stdout.write("c")
            sys.stdout.write(f"d {name}\n")

    list(pool.map(talk, ["one", "two", "three", "four"], chunksize=1))
    lines = capsys.readouterr().out.splitlines()
    for name in ("one", "two", "three", "four"):
        own = [line for line in lines if line.startswith(f"{name}\t")]
        assert own == [f"{name}\t{number}\t{'x' * (number % 50)}" for number in range(300)]
        assert (lines.count(f"b {name}"), lines.count(f"cd {name}")) == (300, 300)
    assert (lines.count("a"), len(lines)) == (1200, 4 * 300 * 4)


def test_a_long_line_stays_whole(pool, capsys):
    list(pool.map(lambda letter: print(letter * 3_000_000), "ab", chunksize=1))
    assert sorted(capsys.readouterr().out.splitlines()) == ["a" * 3_000_000, "b" * 3_000_000]


def test_the_beginning_of_a_line_arrives_with_the_tasks_end(interpreter, capsys):
    for _ in range(3):
        interpreter.call(print, "." * 3, end="")
        interpreter.call(lambda: sys.stderr.buffer.write(b"x"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("." * 9, "xxx")


class Watched(io.StringIO):
    """A stream that sets an event when text is written."""

    def __init__(self, written):
        super().__init__()
        self.written = written

    def write(self, text):
        self.written.set()
        return super().write(text)


@pytest.mark.parametrize("how", ["print", "buffer", "wrapper"])
def test_the_beginning_of_a_line_arrives_with_an_explicit_flush(interpreter, capsys, monkeypatch, how):
    flushed, go_on = owngil.Channel(), owngil.Channel()

    def talk(how, flushed, go_on):
        if how == "print":
            print("line\nwait", end="...", flush=True)
        elif how == "buffer":
            sys.stdout.buffer.write(b"line\nwait...")
            sys.stdout.buffer.flush()
        else:
            stream = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
            stream.write("line\nwait...")
            stream.flush()
            stream.detach()
        flushed.send(sys.stdout.writable())
        go_on.recv(300)
        print("done")

    future = interpreter.submit(talk, how, flushed, go_on)
    assert flushed.recv(300)
    seen = threading.Event()
    monkeypatch.setattr(sys, "stderr", Watched(seen))
    interpreter._dispatcher.replies.put(STDERR, 0, (_core.Block(b"x"),))  # handled after all earlier messages
    assert seen.wait(300)
    assert capsys.readouterr().out == "line\nwait..."
    go_on.send(1)
    future.result()
    assert capsys.readouterr().out == "done\n"


def test_a_replaced_stream_in_the_worker_ends_with_its_task(interpreter, capsys):
    def talk():
        sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="latin-1")
        print("caf\xe9")
        sys.stdout.flush()
        sys.stdout.detach()
        sys.stdout = sys.stderr

    def restore():
        from owngil._worker import stdio

        sys.stdout = stdio._out_stream

    interpreter.call(talk)
    interpreter.call(print, "to stderr")
    interpreter.call(restore)
    interpreter.call(print, "back")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("caf\\xe9\nback\n", "to stderr\n")


def test_characters_in_pieces_and_bytes_that_are_no_text(interpreter, capsys):
    def talk():
        for number in range(len(raw)):
            sys.stdout.buffer.write(raw[number : number + 1])
            sys.stdout.buffer.flush()
        sys.stdout.buffer.write(b"\n\xff\n\xc3\n\xe2\x82")

    raw = "aü€😀".encode()
    interpreter.call(talk)
    interpreter.call(print, ".")
    assert capsys.readouterr().out == "aü€😀\n\\xff\n\\xc3\n\\xe2\\x82.\n"


def test_a_reconfigured_stream_still_arrives(interpreter, capsys):
    def talk():
        sys.stdout.reconfigure(encoding="latin-1", errors="replace", line_buffering=True, write_through=False)
        print("né", end="")

    interpreter.call(talk)
    assert capsys.readouterr().out == "né"


def test_many_threads_of_a_worker_lose_nothing(interpreter, capsys):
    def talk():
        import threading

        def work(number):
            for _ in range(200):
                print(f"{number}" * 10)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    interpreter.call(talk)
    text = capsys.readouterr().out
    assert [text.count(str(number)) for number in range(4)] == [2000] * 4
    assert text.count("\n") == 800


# On the caller's stream


def show(*pieces, prefix=False, monkeypatch):
    """Show pieces (worker, text or None) and return the text of the resulting stdout."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    for worker, text in pieces:
        parts = () if text is None else (text.encode(),)
        stdio.show(STDOUT, worker, f"[{worker}] " if prefix else "", parts)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("pieces", "plain", "prefixed"),
    [
        ([("a", "x\n"), ("b", "y\n")], "x\ny\n", "[a] x\n[b] y\n"),
        ([("a", "x\ny\n\nz\n")], "x\ny\n\nz\n", "[a] x\n[a] y\n[a] \n[a] z\n"),
        # A task that has begun a line and still runs: other workers' lines are lines of their own.
        ([("a", "x"), ("b", "y\n"), ("a", "z\n")], "x\ny\nz\n", "[a] x\n[b] y\n[a] z\n"),
        ([("a", "x"), ("a", "y\n")], "xy\n", "[a] xy\n"),
        ([("a", "x"), ("b", "y"), ("a", "z")], "x\ny\nz", "[a] x\n[b] y\n[a] z"),
        ([("a", "x"), ("a", "\n"), ("b", "y")], "x\ny", "[a] x\n[b] y"),
        # A task that began a line and ended: other workers continue the line, as its worker would; prefixes differ.
        ([("a", "."), ("a", None), ("b", "."), ("b", None), ("a", ".")], "...", "[a] .\n[b] .\n[a] ."),
        ([("a", "."), ("b", None), ("b", ".")], ".\n.", "[a] .\n[b] ."),
        # Progress bars
        ([("a", "\r1%"), ("a", "\r2%"), ("a", "\n")], "\r1%\r2%\n", "\r[a] 1%\r[a] 2%\n"),
        ([("a", "\r1%"), ("b", "\r2%"), ("a", "\r3%")], "\r1%\r2%\r3%", "\r[a] 1%\r[b] 2%\r[a] 3%"),
        ([("a", "\r1%"), ("b", "y\n"), ("a", "\r2%")], "\r1%\ny\n\r2%", "\r[a] 1%\n[b] y\n\r[a] 2%"),
        ([("a", "x\r"), ("a", "y\r\n"), ("a", "z\r"), ("a", "\n")], "x\ry\r\nz\r\n", "[a] x\r[a] y\r\n[a] z\r[a] \n"),
    ],
)
def test_pieces_of_lines_of_several_workers(pieces, plain, prefixed, monkeypatch):
    assert show(*pieces, monkeypatch=monkeypatch) == plain
    assert show(*pieces, prefix=True, monkeypatch=monkeypatch) == prefixed


def test_a_new_stream_at_the_caller_has_no_begun_line(monkeypatch):
    kept = io.StringIO()
    monkeypatch.setattr(sys, "stdout", kept)
    stdio.show(STDOUT, "a", "", (b"begun",))
    assert show(("b", "y\n"), monkeypatch=monkeypatch) == "y\n"


def test_without_a_stream_output_is_dropped(interpreter, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert interpreter.call(lambda: print("lost") or 5) == 5


# Prefixes


def test_prefix_names_the_worker_of_each_line(capsys):
    def talk():
        print("one\ntwo")
        print("three", end="")
        print("four", file=sys.stderr)

    with owngil.Pool(1, thread_name_prefix="p", prefix=True) as pool:
        pool.submit(talk).result()
    with owngil.Interpreter("it", prefix=True) as it:
        it.exec("print('five')")
    captured = capsys.readouterr()
    assert captured.out == "[p-0] one\n[p-0] two\n[p-0] three\n[it] five\n"
    assert captured.err == "[p-0] four\n"


def test_prefixes_of_a_nested_pool_stand_behind_each_other(capsys):
    def nest():
        with owngil.Interpreter("inner", prefix=True) as it:
            it.exec("print('text')")

    with owngil.Interpreter("outer", prefix=True) as it:
        it.call(nest)
    assert capsys.readouterr().out == "[outer] [inner] text\n"


def test_a_progress_bar_in_a_worker_arrives_as_it_moves(interpreter, capsys):
    def work():
        from tqdm import tqdm

        for _ in tqdm(range(3), mininterval=0, file=sys.stderr, ncols=40, bar_format="{n}/{total}"):
            pass

    interpreter.call(work)
    assert capsys.readouterr().err.split("\r") == ["", "0/3", "1/3", "2/3", "3/3", "3/3\n"]
