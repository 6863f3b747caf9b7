"""Random steps with pools and futures, for `api_calls.py`."""

import threading
from collections import Counter
from concurrent.futures import CancelledError, wait
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

import owngil
from fuzzing import cases, tasks
from fuzzing.pool_model import PoolModel, Task

__all__ = ["PoolRules"]

NUMBERS = st.integers(0, 1 << 16)
ERRORS = [ValueError, OSError, SystemExit, StopIteration, GeneratorExit, MemoryError, KeyboardInterrupt]
KINDS = ["give", "lambda", "fail", "cannot leave", "cannot go back", "gated", "gated", "limited", "late", "nested",
         "nested map", "misuse"]  # fmt: skip
WAYS = ["cancel", "stop", "counts", "raises", "submits", "result", "exception", "wait", "timeout", "look"]


def _fails() -> None:
    raise LookupError("an initializer that fails")


def raised(kinds: Any, fn: Any, *args: Any, **kwargs: Any) -> BaseException:
    """Call a function, which must raise an exception of these kinds."""
    try:
        value = fn(*args, **kwargs)
    except kinds as error:
        return error
    raise AssertionError(f"{fn}{args}{kwargs} returned {value!r}, not {kinds}")


class PoolRules:
    """Steps with pools. `step` notes a step, for when it crashes or hangs."""

    pools: list[PoolModel]
    gates: list[owngil.Event]
    counts: Counter[str]

    def step(self, *what: object) -> None:
        cases.note("  " + " ".join(map(str, what)))
        self.counts["steps"] += 1

    def some_pool(self, number: int) -> PoolModel:
        return self.pools[number % len(self.pools)]

    def some_task(self, number: int) -> Task | None:
        all_tasks = [task for model in self.pools for task in model.tasks]
        return all_tasks[number % len(all_tasks)] if all_tasks else None

    # Pools

    @initialize(workers=st.integers(1, 3))
    def make_first_pool(self, workers: int) -> None:
        self.make_pool(workers, None, 1, False, "Pool")

    @precondition(lambda self: len(self.pools) < 4)
    @rule(workers=st.integers(1, 3), recycles=st.sampled_from([None, None, 1, 2, 5]), broken=st.integers(0, 9),
          preload=st.booleans(), factory=st.sampled_from(["Pool", "Pool", "InterpreterPoolExecutor"]))  # fmt: skip
    def make_pool(self, workers: int, recycles: int | None, broken: int, preload: bool, factory: str) -> None:
        self.step("make", factory, workers, recycles, broken, preload)
        options: dict[str, Any] = {"initializer": _fails} if broken == 0 else {}
        if factory == "Pool":
            options |= {"max_tasks_per_child": recycles, "preload": ["json"] if preload else ()}
        pool = getattr(owngil, factory)(workers, **options)
        name = f"{factory.lower()} {len(self.pools)}"
        self.pools.append(PoolModel(pool, name, workers, broken == 0, "max_tasks_per_child" in options))

    @rule()
    def make_bad_pool(self) -> None:
        self.step("make bad pools")
        raised(ValueError, owngil.Pool, 0)
        raised(TypeError, owngil.Pool, "2")
        raised(ValueError, owngil.Pool, 1, max_tasks_per_child=0)
        raised(TypeError, owngil.Pool, 1, initializer=5)
        raised(TypeError, owngil.Pool, 1, preload="numpy")

    # Tasks

    @precondition(lambda self: self.pools)
    @rule(number=NUMBERS, kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6), other=NUMBERS,
          size=st.integers(0, 5))  # fmt: skip
    def submit(self, number: int, kinds: list[str], other: int, size: int) -> None:
        self.step("submit", kinds, "to", self.some_pool(number).name, other, size)
        for kind in kinds:
            self.submit_to(self.some_pool(number), kind, other, size)

    def submit_to(self, model: PoolModel, kind: str, other: int, size: int) -> None:
        task = Task(model, kind, owngil.Counter())
        submit, args = model.pool.submit, ()
        match kind:
            case "give":
                task.value = [size, "x" * size, {size: None}]
                args = (tasks.give, task.ran, task.value)
            case "lambda":
                task.value = size
                args = (tasks.apply, lambda ran: tasks.give_lambda(ran, size), task.ran)
            case "fail":
                kind = ERRORS[other % len(ERRORS)]
                task.error = (kind,)
                args = (tasks.fail, task.ran, kind, f"of task {task.number}")
            case "cannot leave":
                task.error = (owngil.RemoteError,)
                args = (tasks.fail, task.ran, tasks.CannotLeave, "no")
            case "cannot go back":
                task.error = (TypeError,)
                args = (tasks.cannot_go_back, task.ran)
            case "gated":
                task.gate, task.value = self.gates[other % len(self.gates)], size
                args = (tasks.gated, task.ran, task.gate, size)
            case "limited" | "late":
                submit = model.pool.with_timeout(100 if kind == "limited" else 0.005).submit
                task.value, task.error = size, () if kind == "limited" else (TimeoutError,)
                never = owngil.Event()
                args = (tasks.give, task.ran, size) if kind == "limited" else (tasks.gated, task.ran, never, size)
            case "nested" | "nested map":
                to = self.some_pool(other)
                timeout = None if other % 3 else 60
                task.may_be_refused = to.broken or to.closed
                task.nested_in = to
                model.may_have_more = to.may_have_more = True
                task.value = list(range(size))
                if kind == "nested":
                    task.runs = 1 + size
                    args = (tasks.nested, task.ran, to.pool, size, timeout)
                else:
                    args = (tasks.nested_map, task.ran, to.pool, size)
            case "misuse":
                task.value = ["shutdown", "stats", "broadcast", "with_timeout", "__enter__"]
                args = (tasks.misuse, task.ran, self.some_pool(other).pool)
        if model.closed:
            raised(RuntimeError, submit, *args)
            return
        try:
            task.future = submit(*args)
        except owngil.BrokenPoolError:
            assert model.broken
            return
        if model.broken:
            task.error = (owngil.BrokenPoolError,)
            task.may_interrupt = task.may_be_refused = True
        model.tasks.append(task)

    @precondition(lambda self: self.pools)
    @rule(number=NUMBERS, kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=9), way=st.sampled_from(WAYS),
          at=NUMBERS, other=NUMBERS)  # fmt: skip
    def use_tasks(self, number: int, kinds: list[str], way: str, at: int, other: int) -> None:
        """Submit tasks and do something with one of them: a rule that hypothesis chooses as often as another."""
        self.submit(number, kinds, other, other % 5)
        model = self.some_pool(number)
        if not model.tasks:
            return
        before = sum(len(m.tasks) for m in self.pools[: self.pools.index(model)])
        chosen = before + at % len(model.tasks)
        if way in ("cancel", "stop"):
            getattr(self, way)(chosen)
        elif way in ("counts", "raises", "submits"):
            self.add_callback(chosen, way)
        else:
            self.look_at(chosen, way)

    @precondition(lambda self: self.pools)
    @rule(number=NUMBERS)
    def submit_what_cannot_be_sent(self, number: int) -> None:
        self.step("submit what cannot be sent to", self.some_pool(number).name)
        raised((TypeError, RuntimeError, owngil.BrokenPoolError), self.some_pool(number).pool.submit, threading.Lock())

    @rule(number=NUMBERS)
    def open_gate(self, number: int) -> None:
        self.step("open gate", number % len(self.gates))
        self.gates[number % len(self.gates)].set()
        self.gates[number % len(self.gates)] = owngil.Event()

    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        task = self.some_task(number)
        if task is None:
            return
        self.step("cancel", task)
        full, done = task.pool.is_full(task), task.future.done()
        cancelled = task.future.cancel()
        assert cancelled == task.future.cancelled()
        assert cancelled or not full, f"{task} cannot have been taken, and was not cancelled"
        assert not (done and cancelled) or task.may_cancel or task.cancelled, f"{task} was done, and then cancelled"
        assert task.cancelled is None or task.may_cancel or task.cancelled == cancelled
        if cancelled:
            assert task.future.done()
            raised(CancelledError, task.future.result)
        task.cancelled = cancelled

    @rule(number=NUMBERS)
    def stop(self, number: int) -> None:
        task = self.some_task(number)
        if task is None or task.pool.broken or not hasattr(task.future, "stop"):
            return
        self.step("stop", task)
        task.may_interrupt = task.may_cancel = True
        if task.kind.startswith("nested"):
            task.may_be_refused = True
        task.future.stop()
        if task.gate is not None:
            wait([task.future])

    @rule(number=NUMBERS, act=st.sampled_from(["counts", "raises", "submits", "waits"]))
    def add_callback(self, number: int, act: str) -> None:
        task = self.some_task(number)
        if task is None:
            return
        self.step("add a callback that", act, "to", task)

        def submit() -> None:
            try:
                task.pool.pool.submit(abs, -1)
            except RuntimeError:
                assert task.pool.closed or task.pool.broken

        task.pool.add_callback(task, act, submit)

    @rule(number=NUMBERS, way=st.sampled_from(["result", "exception", "wait", "timeout", "look"]))
    def look_at(self, number: int, way: str) -> None:
        task = self.some_task(number)
        if task is None:
            return
        self.step(way, "of", task)
        waits = not task.future.done() and (task.pool.is_full(task) or (task.waits and not task.may_interrupt))
        sure = not waits and task.pool.is_free(task) and not task.waits and not task.kind.startswith("nested")
        timeout = None if sure and way != "timeout" else 0.002
        if way == "look":
            done = task.future.done()
            assert not (done and task.future.running())
            assert not (done and waits), f"{task} cannot be done"
        elif way == "wait":
            done = bool(wait([task.future], timeout).done)
        else:
            done = True
            try:
                (task.future.exception if way == "exception" else task.future.result)(timeout)
            except BaseException:
                done = task.future.done()
        assert done or timeout is not None or way == "look", f"{task} is not done"
        if done:
            assert not waits, f"{task} cannot be done"
            self.counts[f"looks {task.check()}"] += 1

    # Calls that take several workers

    @precondition(lambda self: self.pools)
    @rule(number=NUMBERS, size=st.integers(0, 40), bad=st.integers(0, 80), chunksize=st.sampled_from([None, 1, 3, 100]),
          buffersize=st.sampled_from([None, None, 1, 4]), ordered=st.booleans(), stream=st.booleans(),
          wanted=st.integers(0, 80), limited=st.booleans())  # fmt: skip
    def map(self, number: int, size: int, bad: int, chunksize: int | None, buffersize: int | None, ordered: bool,
            stream: bool, wanted: int, limited: bool) -> None:  # fmt: skip
        model = self.some_pool(number)
        options: dict[str, Any] = {"chunksize": chunksize, "buffersize": buffersize, "ordered": ordered}
        pool = model.pool
        if isinstance(pool, owngil.InterpreterPoolExecutor):
            options, ordered = {"chunksize": chunksize or 1}, True
        elif limited and not model.closed:
            pool = pool.with_timeout(100)
        self.step("map", size, "in", model.name, "bad", bad, options, "stream" if stream else "list", "read", wanted)
        free, full = model.is_free(), model.is_full()
        timeout = None if free else 0.01
        items = (k for k in range(size)) if stream else list(range(size))
        got: list[int] = []
        end = "end"
        try:
            results = pool.map(tasks.fail_at, [bad] * size, items, timeout=timeout, **options)
            for value in results:
                got.append(value)
                if len(got) == wanted:
                    end = "left"
                    break
            del results
        except LookupError as error:
            end = "bad" if error.args == (bad,) else "another error"
        except TimeoutError:
            assert timeout is not None
            return
        except owngil.BrokenPoolError:
            assert model.broken
            return
        except RuntimeError:
            assert model.closed
            return
        assert end in ("end", "left", "bad")
        assert size == 0 or not (model.closed or model.broken or full), "a map ran where none can"
        first = [2 * k for k in range(min(bad, size))]
        if end == "end":
            assert sorted(got) == first
            assert bad >= size
        if end == "bad":
            assert bad < size
        assert len(set(got)) == len(got)
        assert set(got) <= {2 * k for k in range(size) if k != bad}
        if ordered:
            assert got == first[: len(got)]
            assert end != "bad" or got == first
        self.counts[f"maps to {end}"] += 1

    @precondition(lambda self: self.pools)
    @rule(number=NUMBERS)
    def map_badly(self, number: int) -> None:
        pool = self.some_pool(number).pool
        self.step("map badly in", self.some_pool(number).name)
        raised(ValueError, pool.map, abs, [1], buffersize=-1)
        raised(TypeError, pool.map, abs, [1], buffersize="1")
        raised(TypeError, pool.map, abs, 5)
        if not isinstance(pool, owngil.InterpreterPoolExecutor):
            raised(ValueError, pool.map, abs, [1], chunksize=0)
            raised(TypeError, pool.map, abs, [1], chunksize="1")
            raised(TypeError, pool.map, abs)

    @precondition(lambda self: self.pools)
    @rule(number=NUMBERS, fails=st.booleans())
    def broadcast(self, number: int, fails: bool) -> None:
        model = self.some_pool(number)
        if model.before():
            return
        self.step("broadcast in", model.name, fails)
        if model.closed or model.broken:
            raised((RuntimeError, owngil.BrokenPoolError), model.pool.broadcast, abs, -1)
        elif fails:
            raised(TypeError, model.pool.broadcast, abs, "x")
        else:
            assert model.pool.broadcast(abs, -1) == [1] * model.workers
            self.counts["broadcasts"] += 1

    @precondition(lambda self: self.pools)
    @rule(number=NUMBERS)
    def interrupt(self, number: int) -> None:
        model = self.some_pool(number)
        self.step("interrupt", model.name)
        for other in self.pools:
            for task in other.before():
                to = task.nested_in
                if other is model or to is model:
                    task.may_interrupt = True
                    task.may_be_refused |= task.kind.startswith("nested")
        model.pool.interrupt()

    @precondition(lambda self: self.pools)
    @rule(number=NUMBERS)
    def stats(self, number: int) -> None:
        model = self.some_pool(number)
        self.step("stats of", model.name)
        stats = model.pool.stats()
        assert stats.total.calls >= 0
        assert str(stats)

    # The end

    @precondition(lambda self: sum(len(model.tasks) for model in self.pools) > 5)
    @rule(number=NUMBERS, way=st.sampled_from(["shutdown", "with", "no wait", "cancel", "cancel no wait", "forget"]))
    def end_pool(self, number: int, way: str) -> None:
        model = self.some_pool(number)
        self.step("end", model.name, "by", way)
        self.end(model, way)

    def end(self, model: PoolModel, way: str) -> None:
        waits = way in ("shutdown", "with", "cancel")
        if waits:
            self.open_all()
        for other in self.pools:
            for task in other.before():
                task.may_cancel |= other is model and "cancel" in way
                task.may_be_refused |= task.nested_in is model
        model.closed = True
        match way:
            case "shutdown":
                model.pool.shutdown()
            case "with":
                with model.pool:
                    pass
            case "forget":
                model.ended = not model.before()
                self.forget(model)
            case _:
                model.pool.shutdown(wait=waits, cancel_futures="cancel" in way)
        if waits:
            assert all(task.future.done() for task in model.tasks), [str(t) for t in model.before()]
            model.check_callbacks()
            model.ended = True

    def forget(self, model: PoolModel) -> None:
        """Drop the pool object. Its tasks still run."""
        self.forgotten = [*getattr(self, "forgotten", []), model]
        self.pools.remove(model)
        model.pool = None

    def open_all(self) -> None:
        for number in range(len(self.gates)):
            self.gates[number].set()
            self.gates[number] = owngil.Event()

    def end_pools(self) -> None:
        """End all pools and check all futures."""
        self.step("end all pools")
        self.open_all()
        for model in list(self.pools):
            self.end(model, "shutdown")
            raised(RuntimeError, model.pool.submit, abs, 1)
        for model in [*self.pools, *getattr(self, "forgotten", [])]:
            for task in model.tasks:
                wait([task.future])
            self.counts.update(model.check_all())
