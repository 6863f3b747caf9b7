"""owngil.trace: the recorded events, and the file, which must follow Chrome's trace event format."""

import json
import os
import threading
import time
from collections import Counter
from itertools import pairwise

import pytest

import owngil


def _square(x):
    return x * x


def check_format(trace):
    """Assert the trace event format's rules for events of each phase, for the phases that owngil uses."""
    assert set(trace) == {"displayTimeUnit", "otherData", "traceEvents"}
    assert trace["displayTimeUnit"] in ("ms", "ns")
    fields = {
        "X": {"name": str, "cat": str, "ts": (int, float), "dur": (int, float), "pid": int, "tid": int},
        "M": {"name": str, "pid": int, "tid": int, "args": dict},
        "C": {"name": str, "cat": str, "ts": (int, float), "pid": int, "tid": int, "args": dict},
        "i": {"name": str, "cat": str, "ts": (int, float), "pid": int, "tid": int, "s": str, "args": dict},
        "s": {"name": str, "cat": str, "ts": (int, float), "pid": int, "tid": int, "id": int},
        "f": {"name": str, "cat": str, "ts": (int, float), "pid": int, "tid": int, "id": int, "bp": str},
    }
    optional = {"X": {"args"}}
    for event in trace["traceEvents"]:
        wanted = fields[event["ph"]]
        assert set(event) - {"ph"} - optional.get(event["ph"], set()) == set(wanted), event
        for name, kind in wanted.items():
            assert isinstance(event[name], kind), event
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 0) >= 0
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name", "thread_sort_index")
        elif event["ph"] == "C":
            assert all(isinstance(value, int) and value >= 0 for value in event["args"].values())
        elif event["ph"] == "i":
            assert event["s"] in "gpt"
    # Each flow ends once, after its beginning; both ends lie within a slice of their row.
    begins = {event["id"]: event for event in trace["traceEvents"] if event["ph"] == "s"}
    ends = [event for event in trace["traceEvents"] if event["ph"] == "f"]
    assert len({event["id"] for event in ends}) == len(ends)
    slices = {(event["tid"], event["ts"]) for event in trace["traceEvents"] if event["ph"] == "X"}
    for end in ends:
        assert end["ts"] >= begins[end["id"]]["ts"]
    assert all((event["tid"], event["ts"]) in slices for event in [*begins.values(), *ends])


def _record(path, work):
    with owngil.trace(path):
        result = work()
    trace = json.loads(path.read_text())
    check_format(trace)
    return trace["traceEvents"], result


def _slices(events, category, name=None):
    return [
        event
        for event in events
        if event["ph"] == "X" and event["cat"] == category and (name is None or event["name"] == name)
    ]


def _rows(events):
    return {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}


def test_a_pool(tmp_path):
    def work():
        with owngil.Pool(2, thread_name_prefix="w") as pool:
            for future in [pool.submit(_square, k) for k in range(50)]:
                future.result()
            assert list(pool.map(abs, range(100), chunksize=10)) == list(range(100))
            with pytest.raises(ValueError):
                pool.submit(int, "x").result()

    events, _ = _record(tmp_path / "trace.json", work)
    rows = _rows(events)
    assert {"MainThread", "w-0"} <= set(rows.values())
    assert Counter(event["name"] for event in _slices(events, "task")) == {
        f"{__name__}._square()": 50,
        "abs()": 10,
        "int()": 1,
    }
    assert all(rows[event["tid"]].startswith("w-") for event in _slices(events, "task"))
    assert {event["args"]["calls"] for event in _slices(events, "task", "abs()")} == {10}
    assert [event["args"]["failed"] for event in _slices(events, "task", "int()")] == [1]
    workers = sorted(row for row, name in rows.items() if name in ("w-0", "w-1"))
    assert sorted(event["tid"] for event in _slices(events, "start-up")) == workers
    assert sorted(event["tid"] for event in _slices(events, "end")) == workers
    assert len(_slices(events, "transfer", "send")) == 61
    assert len([event for event in events if event["ph"] == "f"]) == 61
    assert _slices(events, "idle")
    counts = [event["args"]["tasks"] for event in events if event["ph"] == "C"]
    assert {event["name"] for event in events if event["ph"] == "C"} == {"w: tasks queued"}
    assert max(counts) > 1
    assert counts[-1] == 0


def test_a_workers_row_is_in_order_and_without_gaps(tmp_path):
    def work():
        with owngil.Pool(1, thread_name_prefix="w") as pool:
            assert len(list(pool.map(lambda k: "x" * k, range(100), chunksize=1))) == 100

    events, _ = _record(tmp_path / "trace.json", work)
    (row,) = [row for row, name in _rows(events).items() if name == "w-0"]
    mine = sorted((event for event in events if event["ph"] == "X" and event["tid"] == row), key=lambda e: e["ts"])
    assert [event["name"] for event in mine[:3]] == ["start-up", "idle", "unpickle"]
    for event, after in pairwise(mine):
        assert event["ts"] + event["dur"] == pytest.approx(after["ts"], abs=0.01)
    assert mine[-1]["name"] == "end"


def test_an_interrupt_while_a_task_is_named_is_not_lost(tmp_path):
    class Unnamed:
        interrupted = False

        def __getattr__(self, name):
            from owngil import _core

            if name == "__name__" and _core.in_worker() and not self.interrupted:
                self.interrupted = True
                raise KeyboardInterrupt
            raise AttributeError(name)

        def __call__(self):
            return 5

    with owngil.trace(tmp_path / "trace.json"), owngil.Pool(1) as pool:
        assert isinstance(pool.submit(Unnamed()).exception(300), KeyboardInterrupt)
        assert pool.submit(abs, -1).result(300) == 1


def test_recorded_times_are_the_durations_of_the_work(tmp_path):
    def work():
        with owngil.Pool(1) as pool:
            blocker = pool.submit(time.sleep, 0.1)
            pool.submit(abs, 1).result()
            blocker.result()

    events, _ = _record(tmp_path / "trace.json", work)
    (sleep,) = _slices(events, "task", "time.sleep()")
    (call,) = _slices(events, "task", "abs()")
    assert sleep["dur"] >= 100_000
    assert call["args"]["queued_us"] >= 100_000 or call["ts"] - sleep["ts"] >= 100_000
    assert call["ts"] >= sleep["ts"] + sleep["dur"]


def test_transfers_have_durations(tmp_path):
    text = [str(k) for k in range(300_000)]

    def work():
        with owngil.Pool(1) as pool:
            return pool.submit(lambda text: text, text).result() == text

    events, same = _record(tmp_path / "trace.json", work)
    assert same
    (call,) = _slices(events, "task")
    assert call["args"]["bytes_in"] > 1_000_000
    assert call["args"]["bytes_out"] > 1_000_000
    for name in ("send", "unpickle", "pickle"):
        assert max(event["dur"] for event in _slices(events, "transfer", name)) > 1000, name


def test_cancelled_and_unfinished_tasks(tmp_path):
    gate, inside = owngil.Event(), owngil.Event()

    def task(inside, gate):
        inside.set()
        gate.wait()

    with owngil.Pool(1) as pool:

        def work():
            running = pool.submit(task, inside, gate)
            assert pool.submit(abs, 1).cancel()
            waiting = pool.submit(abs, 2)
            inside.wait()
            return running, waiting

        events, futures = _record(tmp_path / "trace.json", work)
        gate.set()
        assert futures[1].result() == 2
    (call,) = _slices(events, "task")
    assert call["args"]["unfinished"]
    assert len([event for event in events if event["ph"] == "i"]) == 1
    assert [event["args"]["tasks"] for event in events if event["ph"] == "C"][-1] == 1


def test_workers_that_started_before_the_recording(tmp_path):
    with owngil.Pool(1, thread_name_prefix="old") as pool, owngil.Interpreter("single") as it:
        pool.submit(abs, 1).result()
        events, _ = _record(
            tmp_path / "trace.json", lambda: (pool.submit(abs, 2).result(), it.call(abs, 3), it.exec("x = 1"))
        )
        again, _ = _record(tmp_path / "trace.json", lambda: pool.submit(abs, 2).result())
    assert {"old-0", "single"} <= set(_rows(events).values())
    assert Counter(event["name"] for event in _slices(events, "task")) == {"abs()": 2, "Interpreter.exec()": 1}
    assert not _slices(events, "start-up")
    assert len(_slices(again, "task")) == 1


def test_nested_pools_have_rows_too(tmp_path):
    def outer():
        with owngil.Pool(1, thread_name_prefix="inner") as pool:
            return pool.submit(abs, -1).result()

    def work():
        with owngil.Pool(1, thread_name_prefix="outer") as pool:
            return pool.submit(outer).result()

    events, result = _record(tmp_path / "trace.json", work)
    assert result == 1
    rows = _rows(events)
    assert {"outer-0", "inner-0"} <= set(rows.values())
    assert {rows[event["tid"]] for event in _slices(events, "task", "abs()")} == {"inner-0"}
    assert {rows[event["tid"]] for event in _slices(events, "transfer", "send")} == {"MainThread", "outer-0"}


def test_threads_of_equal_names_have_rows_of_their_own(tmp_path):
    def work():
        with owngil.Pool(1) as pool:
            threads = [threading.Thread(target=lambda: pool.submit(abs, 1).result(), name="twin") for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    events, _ = _record(tmp_path / "trace.json", work)
    assert {"twin", "twin (2)"} <= set(_rows(events).values())


def test_one_recording_at_a_time(tmp_path):
    with owngil.trace(tmp_path / "first.json"):
        with pytest.raises(RuntimeError, match="a recording is on already"):
            owngil.trace(tmp_path / "second.json").start()
        with owngil.Pool(1) as pool, pytest.raises(RuntimeError, match="a recording is on already"):
            pool.submit(owngil.trace(tmp_path / "third.json").start).result()
    assert [path.name for path in tmp_path.iterdir()] == ["first.json"]
    check_format(json.loads((tmp_path / "first.json").read_text()))


def test_a_recording_is_not_begun_anew(tmp_path):
    with owngil.trace(tmp_path / "trace.json") as recording:
        with pytest.raises(RuntimeError, match="a recording is on already"):
            recording.start()
    check_format(json.loads((tmp_path / "trace.json").read_text()))
    owngil.trace(tmp_path / "trace.json").start().stop()


def test_an_exception_of_a_signal_handler_loses_no_recording(tmp_path, monkeypatch):
    def start_and_raise(start=owngil._core.trace_start):
        start()
        raise KeyboardInterrupt

    recording = owngil.trace(tmp_path / "trace.json")
    with monkeypatch.context() as patched:
        patched.setattr("owngil._core.trace_start", start_and_raise)
        with pytest.raises(KeyboardInterrupt):
            recording.start()
    recording.stop()
    check_format(json.loads((tmp_path / "trace.json").read_text()))
    owngil.trace(tmp_path / "trace.json").start().stop()


def test_start_and_stop(tmp_path):
    recording = owngil.trace(os.fspath(tmp_path / "trace.json")).start()
    recording.stop()
    written = (tmp_path / "trace.json").read_text()
    check_format(json.loads(written))
    recording.stop()
    assert (tmp_path / "trace.json").read_text() == written
    with pytest.raises(FileNotFoundError):
        owngil.trace(tmp_path / "nowhere" / "trace.json").start()
    owngil.trace(tmp_path / "trace.json").start().stop()  # the first recording left nothing switched on


def test_an_error_in_the_block_does_not_lose_the_recording(tmp_path):
    with pytest.raises(LookupError), owngil.trace(tmp_path / "trace.json"):
        raise LookupError
    check_format(json.loads((tmp_path / "trace.json").read_text()))


def test_many_workers_and_threads_at_once(tmp_path):
    def work():
        with owngil.Pool(8, max_tasks_per_child=50) as pool:
            threads = [threading.Thread(target=lambda: list(pool.map(abs, range(300), chunksize=1))) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    events, _ = _record(tmp_path / "trace.json", work)
    assert len(_slices(events, "task")) == 1200
    assert all("unfinished" not in event["args"] for event in _slices(events, "task"))
    counts = [event["args"]["tasks"] for event in events if event["ph"] == "C"]
    assert min(counts) == counts[-1] == 0


def test_a_recording_that_runs_at_the_end_of_the_process_is_written(ends_cleanly, tmp_path):
    ends_cleanly(
        """
        import owngil
        owngil.trace("trace.json").start()
        pool = owngil.Pool(1)
        pool.submit(abs, 1)
        """
    )
    trace = json.loads((tmp_path / "trace.json").read_text())
    check_format(trace)
    assert [event["name"] for event in _slices(trace["traceEvents"], "task")] == ["abs()"]


def test_a_fork_leaves_the_recording_to_its_parent(ends_cleanly, tmp_path):
    out = ends_cleanly(
        """
        import faulthandler, json, os, sys, warnings
        import owngil
        warnings.simplefilter("ignore", DeprecationWarning)  # that thread may be seen yet, of:
        faulthandler.cancel_dump_traceback_later()  # the child would wait for its thread at exit
        with owngil.trace("trace.json"):
            pid = os.fork()
            if pid == 0:
                with owngil.trace("child.json"), owngil.Pool(1) as pool:
                    pool.submit(abs, 1).result()
        if pid == 0:
            sys.exit()
        assert os.waitpid(pid, 0)[1] == 0
        traces = [json.load(open(name))["traceEvents"] for name in ("trace.json", "child.json")]
        print([{event["pid"] for event in trace} for trace in traces] == [{os.getpid()}, {pid}])
        """
    )
    assert out == "True\n"


def test_events_that_find_no_room_are_reported(tmp_path, monkeypatch):
    from owngil import _core

    stop = _core.trace_stop
    monkeypatch.setattr(_core, "trace_stop", lambda: (*stop()[:3], 7))
    recording = owngil.trace(tmp_path / "trace.json").start()
    with pytest.warns(UserWarning, match="7 events found no room"):
        recording.stop()
    assert json.loads((tmp_path / "trace.json").read_text())["otherData"]["dropped"] == 7
