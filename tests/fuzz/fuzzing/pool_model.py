"""What pools must answer: a model of pools and their tasks, for `api_calls.py`.

A pool takes its tasks in the order in which they were submitted. So the model knows a task that cannot have been taken:
as many tasks before it wait at gates as the pool has workers. Where threads race, the model allows all outcomes that
the documentation does.
"""

import threading
from collections import Counter
from concurrent.futures import CancelledError, Future
from itertools import count
from typing import Any

import owngil

__all__ = ["PoolModel", "Task"]


class Task:
    """One future, and what may become of it."""

    def __init__(self, pool: "PoolModel", kind: str, ran: owngil.Counter, runs: int = 1) -> None:
        self.pool, self.kind, self.ran, self.runs = pool, kind, ran, runs
        self.number = next(pool.numbers)
        self.future: Future[Any]
        self.value: Any = None
        self.error: tuple[type[BaseException], ...] = ()  # what it raises
        self.gate: owngil.Event | None = None
        self.nested_in: PoolModel | None = None  # the pool in which it runs tasks
        self.cancelled: bool | None = None  # what cancel() has returned
        self.may_cancel = self.may_interrupt = self.may_be_refused = False
        self.callbacks: list[int] = []  # how often each was called
        self._seen: tuple[str, Any] | None = None

    @property
    def waits(self) -> bool:
        """Return whether the task may hold a worker: its gate is shut, and its future is not done."""
        return self.gate is not None and not self.gate.is_set() and not self.future.done()

    def outcome(self) -> tuple[str, Any]:
        """Return what became of the future, which is done: the same whenever it is asked."""
        assert self.future.done()
        assert not self.future.running()
        assert not self.future.cancel() or self.future.cancelled()
        try:
            error = self.future.exception(0)
        except CancelledError:
            assert self.future.cancelled()
            seen: tuple[str, Any] = ("cancelled", None)
        else:
            assert not self.future.cancelled()
            seen = ("value", self.future.result(0)) if error is None else ("error", error)
        assert self._seen is None or (seen[0] == self._seen[0] and seen[1] is self._seen[1]), (self._seen, seen)
        self._seen = seen
        return seen

    def check(self) -> str:
        """Check the future, which is done. Return its outcome in a word."""
        what, got = self.outcome()
        ran = self.ran.value
        assert ran <= self.runs, f"{self} ran {ran} times"
        if what == "cancelled":
            assert self.may_cancel or self.cancelled, f"{self} is cancelled"
            assert ran == 0, f"{self} is cancelled and ran"
            return what
        assert not self.cancelled, f"{self} was cancelled and has {got!r}"
        if what == "value":
            value = got() if self.kind == "lambda" else got
            assert not self.error, f"{self} returned {got!r}"
            assert value == self.value, f"{self} returned {got!r}"
            assert ran == self.runs
            return what
        if isinstance(got, KeyboardInterrupt) and self.may_interrupt:
            return "interrupted"
        if self.may_be_refused and isinstance(got, (RuntimeError, CancelledError, owngil.BrokenPoolError)):
            return "refused"
        assert isinstance(got, self.error or ()), f"{self} raised {got!r}"
        assert ran == self.runs or self.pool.broken, f"{self} ran {ran} times"
        return "raised"

    def __str__(self) -> str:
        return f"task {self.number} of {self.pool.name}, {self.kind}, which expects {self.error or self.value!r}"


class PoolModel:
    """One pool."""

    def __init__(self, pool: Any, name: str, workers: int, broken: bool, recycles: bool) -> None:
        self.pool, self.name, self.workers, self.broken, self.recycles = pool, name, workers, broken, recycles
        self.numbers = count()
        self.tasks: list[Task] = []
        self.closed = self.ended = False
        self.may_have_more = False  # workers than it may: others take the place of those that wait for nested tasks

    def before(self, task: Task | None = None) -> list[Task]:
        """Return the tasks that are not done and came before one, or all."""
        return [t for t in self.tasks if not t.future.done() and (task is None or t.number < task.number)]

    def is_free(self, task: Task | None = None) -> bool:
        """Return whether a worker surely comes to a task, or to a new one."""
        before = self.before(task)
        return sum(t.waits for t in before) < self.workers and not any(t.kind.startswith("nested") for t in before)

    def is_full(self, task: Task | None = None) -> bool:
        """Return whether a task, or a new one, surely waits in the queue."""
        held = sum(t.waits and not t.may_interrupt for t in self.before(task))
        return held >= self.workers and not self.may_have_more and not self.broken

    def check_all(self) -> Counter[str]:
        """Check all tasks, which are done."""
        return Counter(f"tasks {task.check()}" for task in self.tasks)

    def check_callbacks(self) -> None:
        """Check that each callback was called once."""
        for task in self.tasks:
            assert set(task.callbacks) <= {1}, f"the callbacks of {task} were called {task.callbacks} times"

    def add_callback(self, task: Task, act: str, submit: Any) -> None:
        """Add a callback that counts, and may raise an exception, or submit another task."""
        number = len(task.callbacks)
        task.callbacks.append(0)

        def called(future: Future[Any]) -> None:
            task.callbacks[number] += 1
            assert future is task.future
            assert future.done()
            if act == "raises":
                raise ZeroDivisionError("of a callback")
            if act == "submits":
                submit()
            if act == "waits" and not task.pool.ended:
                threading.Event().wait(0)

        task.future.add_done_callback(called)
