"""The dispatcher of a pool that has workers of its own: starts, replaces and ends them, and delivers their reports.

At each submission it starts workers until there is one more than pending tasks, up to the limit. The collector lives
until the last worker has exited. If a worker cannot start, `break_pool` fails the tasks that wait.
"""

import contextlib
import sys
from collections.abc import Callable
from contextvars import Context, copy_context

from owngil import _core, _wire
from owngil._caller.arrivals import REPORTS, deliver
from owngil._tasks.clients import Lender
from owngil._tasks.dispatcher import CLOSED, Dispatcher, Source
from owngil._tasks.future import TaskFuture
from owngil._tasks.stats import Stats
from owngil._tasks.stuck import describe_stuck, say
from owngil._tasks.workers import Workers
from owngil._wire.interrupts import is_interrupt
from owngil._wire.protocol import (
    BLOCKED,
    BROKEN,
    CALL,
    CANCEL,
    ERROR,
    EXITED,
    FAILED,
    KEPT,
    READY,
    RESULT,
    STUCK,
    STUCK_START,
    UNBLOCKED,
    WAKE,
)

__all__ = ["OwnerDispatcher"]


class OwnerDispatcher(Dispatcher):
    """A group of up to `max_workers` workers.

    Parameters
    ----------
    max_workers : int
        How many workers there may be at once, at least 1.
    name : callable
        Gives the name of worker 0, 1, 2, ...
    initializer : callable, optional
        Runs in each worker before its first task, with `initargs`.
    max_tasks : int, optional
        After so many tasks a worker ends, and another takes its place.
    preload : tuple of str, optional
        Modules that each worker imports before all else.
    copies : bool, optional
        Whether arguments of tasks are copied in the worker, and may be written to there.
    prefix : bool, optional
        Whether the worker's name stands before each line that it prints.
    """

    _lender: Lender | None = None  # when the pool was handed over

    def __init__(
        self,
        max_workers: int,
        name: Callable[[int], str],
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[object, ...] = (),
        max_tasks: int | None = None,
        preload: tuple[str, ...] = (),
        copies: bool = False,
        prefix: bool = False,
    ) -> None:
        tasks = _core.Queue(last_first=True)  # the worker that was busy last gets the next task: its caches are warm
        replies = _core.Queue()
        self.workers = Workers(
            max_workers,
            name,
            tasks,
            replies,
            initializer=None if initializer is None else (initializer, initargs),
            max_tasks=max_tasks,
            preload=preload,
            copies=copies,
        )
        self._prefix = prefix
        self._addressed: dict[TaskFuture, int] = {}  # futures of tasks for one worker, and its number
        self._started = _core.Event()  # the first worker is ready, or the pool is broken
        self._interpreter_id = -1  # of the first worker, when it is ready
        super().__init__(tasks, replies, replies)

    # Tasks

    def submit(
        self,
        parts: _wire.Parts,
        on_done: Callable[[TaskFuture], None] | None = None,
        source: Source | None = None,
    ) -> TaskFuture:
        """As Dispatcher.submit; starts a worker if one is wanted."""
        _core.complete_type_versions()  # for types of modules that were imported since
        return _core.locked(self.lock, self._submit, parts, on_done, source)

    def _submit(
        self, parts: _wire.Parts, on_done: Callable[[TaskFuture], None] | None, source: Source | None
    ) -> TaskFuture:
        if self.broken is not None:
            raise self.broken_error(self.broken)
        if self.tasks.closed or (self._closed and source not in self._sources):
            raise RuntimeError(CLOSED)
        future = TaskFuture(self, next(self._task_ids), on_done)
        if self._keeps_contexts:
            future.context = copy_context() if source is None else source.context
        alive = self.workers.alive
        try:
            self._enqueue(future, parts)
            # Start one more than there is work for, so that the next task need not wait for a start.
            wanted = min(self.workers.limit, len(self._pending) + 1)
            while len(alive) < wanted:
                self.start_worker()
        except BaseException as error:
            # If no further worker can start, others will run the task.
            if not alive or future._message is None or not isinstance(error, Exception) or is_interrupt(error):
                self._withdraw(future)
                raise
        return future

    def submit_to_each(self, parts: _wire.Parts) -> list[TaskFuture]:
        """Queue a call once for each worker, in the order of their numbers; start those that are missing."""
        return _core.locked(self.lock, self._submit_to_each, parts)

    def _submit_to_each(self, parts: _wire.Parts) -> list[TaskFuture]:
        futures: list[TaskFuture] = []
        if self.broken is not None:
            raise self.broken_error(self.broken)
        try:
            if self.tasks.closed or self._closed:
                raise _core.QueueClosed
            self._start_missing()
            for number in sorted(self.workers.alive):
                task = next(self._task_ids)
                future = TaskFuture(self, task, self._on_addressed_done)
                futures.append(future)
                self._pending[task] = future
                self._addressed[future] = number
                self.tasks.put_for(number, CALL, task, parts, future)
        except BaseException as error:
            for future in futures:
                if not future.cancel() and future._message is None:  # else a worker has the task, and will answer
                    self.forget(future._task)
                    self._addressed.pop(future, None)
            if isinstance(error, _core.QueueClosed):
                raise RuntimeError(CLOSED) from None
            raise
        return futures

    def _on_addressed_done(self, future: TaskFuture) -> None:
        self._addressed.pop(future, None)

    def start(self) -> int:
        """Start one worker now, wait until it is ready, and return its interpreter's id."""
        _core.locked(self.lock, self.start_worker)
        self._started.wait()
        if self._interpreter_id < 0:
            raise self.broken_error(self.broken)
        return self._interpreter_id

    def start_all(self) -> None:
        """Start all workers that are missing, and wait for none."""
        _core.locked(self.lock, self._start_missing)

    @property
    def busy(self) -> bool:
        """Whether any worker is running a task."""
        return self.workers.busy

    def stats(self) -> Stats:
        """Return what the workers have done, and the number of tasks that wait."""
        rows = _core.locked(self.lock, self.workers.stats)
        waiting = [future._message for future in list(self._pending.values())]
        return Stats(
            tuple(rows),
            sum(message is not None and not message.taken for message in waiting),
            self.tasks.spent / 1e9,
            self.replies.spent / 1e9,
        )

    def interrupt(self) -> None:
        """As Dispatcher.interrupt."""
        self.workers.interrupt()

    def interrupt_task(self, future: TaskFuture) -> None:
        """As Dispatcher.interrupt_task."""
        if future._message is not None:
            future._message.refuse()  # in case a worker has taken the task, and not begun it
        self.workers.interrupt(future._task)

    # The end

    def end_source(self, source: Source) -> None:
        """As Dispatcher.end_source."""
        super().end_source(source)
        if self._closing:
            self._close_tasks()

    def close(self) -> None:
        """Take no more tasks; workers end when they have done those in the queue. Never waits."""
        if not self.abandoned:
            self._closing = True
            for source in list(self._sources):
                source.submit_rest()
            self._close_tasks()

    def _close_tasks(self) -> None:
        # Do not wait for a source: its thread may need a lock that the calling one holds. It calls this at its end,
        # too.
        if not self._sources:
            self.tasks.close()
            with contextlib.suppress(_core.QueueClosed):  # the collector has ended already
                self.replies.put(WAKE, 0, ())

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """As Executor.shutdown. Ctrl-C during the wait stops all tasks."""
        if cancel_futures:
            self._cancel_pending()
        try:
            self.close()
            _core.locked(self.lock, setattr, self, "_closed", True)
            if wait:
                for source in list(self._sources):
                    source.leave_off()
                self.join()
        except KeyboardInterrupt:
            if wait:
                self.stop()
            raise

    def leave(self, error: BaseException | None) -> None:
        """Shut down at the end of a ``with`` block, which may end by `error`.

        After Ctrl-C, tasks are stopped. The same holds for a cancellation of the coroutine that has the block: asyncio
        turns Ctrl-C into that, and its loop must not be blocked by a wait for the tasks.
        """
        exceptions = sys.modules.get("asyncio.exceptions")
        cancelled = exceptions is not None and isinstance(error, exceptions.CancelledError)
        if not cancelled and not isinstance(error, KeyboardInterrupt):
            try:
                self.shutdown(wait=True, cancel_futures=False)
            except KeyboardInterrupt:
                self._cut_short()
                raise
        else:
            self._cut_short()

    def _cut_short(self) -> None:
        self.shutdown(wait=False, cancel_futures=True)
        self.stop()
        self.join()

    def stop(self) -> None:
        """Cancel the tasks that wait, and interrupt those that run or begin at this moment. Never waits."""
        super().stop()
        self.workers.stop()

    def abandon(self) -> None:
        """As Dispatcher.abandon."""
        super().abandon()
        self.workers.forget()
        self._lender = None

    def _cancel_pending(self) -> None:
        super()._cancel_pending()
        if self._lender is not None:
            self._lender.tell_all(CANCEL)

    # Workers

    def lend(self) -> tuple[_core.Queue, _core.Queue, _core.Counter]:
        """Return what other interpreters need to submit tasks to the workers; see `clients`."""
        return self.tasks, self.replies, _core.locked(self.lock, self._lend)

    def _lend(self) -> _core.Counter:
        if self.abandoned:
            raise self.forked_error()
        if self._lender is None:
            self._lender = Lender(self)
        if not self.tasks.closed:
            self._start_collector(self.workers.name(0))
        return self._lender.numbers

    def _start_missing(self) -> None:
        while len(self.workers.alive) < self.workers.limit:
            self.start_worker()

    def start_worker(self) -> int:
        """Start one worker and return its number; with the lock held."""
        self._start_collector(self.workers.name(0))
        return self.workers.start()

    def _on_exit(self, number: int, joinable: bool) -> None:
        """Account for a worker that is gone, and replace it if tasks wait."""
        if joinable:
            self.workers.join(number)
        left, failure = _core.locked(self.lock, self._replace, number)
        if failure is not None:
            self._fail([future for future in left if future._message is not None and future._message.cancel()], failure)
            if not self.workers.alive:
                self.break_pool(failure)
        if self._lender is not None:
            self._lender.on_exit(number)

    def _replace(self, number: int) -> tuple[list[TaskFuture], str | None]:
        """Start a worker in place of one that is gone, if tasks wait. Return those for the latter alone, and why none
        could start.
        """
        self.workers.remove(number)
        # Copy the dict, because futures leave it without the lock when they are resolved.
        left = [
            future
            for future, receiver in list(self._addressed.items())
            if receiver == number and future._status == "PENDING"
        ]
        wanted = bool(left) or len(self.tasks) > 0
        if self.broken is None and wanted and (left or len(self.workers.alive) < self.workers.limit):
            try:
                heir = self.start_worker()
            except Exception as error:
                return left, str(error)
            self.tasks.readdress(number, heir)
            self._addressed.update(dict.fromkeys(left, heir))
            for future in left:
                if future._status != "PENDING":  # it was resolved, and has left, since
                    self._addressed.pop(future, None)
        return left, None

    def _done(self) -> bool:
        return not self.workers.alive and self.tasks.closed and _core.locked(self.lock, self._is_over)

    def _is_over(self) -> bool:
        if self._lender is not None and self.broken is None and len(self.tasks) > 0:
            return False  # a WAKE is still to come, which starts a worker
        return not self.workers.alive and self.tasks.closed

    def break_pool(self, reason: str) -> None:
        waiting = _core.locked(self.lock, self._break, reason)
        if self._lender is not None:
            self._lender.tell_all(BROKEN, (reason.encode("utf-8", "replace"),))
        # Tasks that other workers are running are not cancelled, and still get their results.
        self._fail([f for f in waiting if f._message is not None and f._message.cancel()], reason)
        self._started.set()

    def _break(self, reason: str) -> list[TaskFuture]:
        self.broken = reason
        self.tasks.close()
        return list(self._pending.values())

    # Replies

    def _finish(self) -> None:
        self.replies.close()
        # Normally no future is left: each worker has answered, or has been replaced.
        waiting = [future for future in list(self._pending.values()) if not future.has_answer()]
        self._fail(waiting, "the worker ended without an answer")
        if self._lender is not None:
            self._lender.end()

    def handle(self, kind: int, number: int, parts: _wire.Parts) -> None:
        if kind in (RESULT, ERROR):
            self.resolve(kind, number, parts)
        elif kind in REPORTS:
            prefix = f"[{self.workers.name(number)}] " if self._prefix else ""
            deliver(kind, parts, (id(self), number), prefix, self._context_of)
        elif kind == READY:
            worker = self.workers.alive.get(number)
            if worker is None:  # start_worker() has not returned yet, and holds the lock
                worker = _core.locked(self.lock, self.workers.alive.get, number)
            if worker is not None and self._interpreter_id < 0:
                self._interpreter_id = worker.interpreter_id
                self._started.set()
        elif kind == FAILED:
            reason = b"".join(parts).decode() or "out of memory"  # type: ignore[arg-type]
            self.break_pool(f"worker '{self.workers.name(number)}' cannot work:\n{reason.rstrip()}")
        elif kind in (EXITED, KEPT):
            self._on_exit(number, kind == EXITED)
        elif kind in (STUCK, STUCK_START):
            say(describe_stuck(self.workers.name(number), parts, waits=self._stopped, starts=kind == STUCK_START))
        else:
            if kind == BLOCKED:
                self.workers.blocked |= {number}
            elif kind == UNBLOCKED:
                self.workers.blocked -= {number}
            if self._lender is not None:
                self._lender.handle(kind, number, parts)

    def _context_of(self, task: int) -> Context | None:
        future = self._pending.get(task)
        return None if future is None else future.context

    def _relay(self, kind: int, task: int, parts: _wire.Parts) -> None:
        if self._lender is not None:
            self._lender.relay(kind, task, parts)
