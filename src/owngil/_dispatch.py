"""The caller's side of a group of workers: sends tasks, resolves futures, shows what workers print, ends it all.

A dispatcher has one queue of tasks that its workers take from, one queue of replies, and one thread, the collector,
that takes the replies and does what they say. Workers are started as tasks find none idle, and one ahead.

Nothing here is lost or waits for ever: each future is resolved by its worker's reply, by cancellation before a worker
took the task, or by `_break` when workers cannot be had; and the collector lives until the last worker has exited.
"""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Future
from contextvars import Context, copy_context
from itertools import count
from typing import TYPE_CHECKING, Protocol

from owngil import _core, _wire, isolation
from owngil._arrivals import REPORTS, deliver, keep_contexts
from owngil._arrivals import settings_of_caller as settings_of_reports
from owngil._ending import known, live
from owngil._failure import load_error
from owngil._future import TaskFuture, seconds_left
from owngil._notebooks import Collector
from owngil._protocol import (
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
    UNBLOCKED,
    WAKE,
)
from owngil._stats import History, Stats, worker_stats
from owngil._stopping import GRACE, describe_stuck, say
from owngil._worker import settings_of_caller

if TYPE_CHECKING:
    from owngil._lending import Lender

__all__ = ["BrokenPoolError", "Dispatcher", "Source"]


_CLOSED = "cannot schedule new futures after shutdown: the workers are closed"


class BrokenPoolError(BrokenExecutor):
    """A worker could not start, or its initializer failed; the pool accepts no more tasks."""


class Source(Protocol):
    """Who submits tasks by and by."""

    context: Context  # in which it was made

    def submit_rest(self) -> None:
        """Submit what is left, at once or soon, and call Dispatcher.end_source(): the dispatcher is about to close."""

    def leave_off(self) -> None:
        """Submit nothing more if the calling thread was about to: it waits for the end now."""

    def cancel(self) -> None:
        """Submit nothing more."""


class Dispatcher:
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
    prefix : bool, optional
        Whether the worker's name stands before each line that it prints.
    """

    # Not set for each: with more than 30 attributes of its own, an object is slower.
    blocked: frozenset[int] = frozenset()  # workers that wait for tasks of pools that were handed to them
    _lender: "Lender | None" = None  # when the pool was handed over

    def __init__(
        self,
        max_workers: int,
        name: Callable[[int], str],
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[object, ...] = (),
        max_tasks: int | None = None,
        preload: tuple[str, ...] = (),
        prefix: bool = False,
    ) -> None:
        self._max_workers = max_workers
        self._name = name
        self._initializer = None if initializer is None else (initializer, initargs)
        self._max_tasks = max_tasks
        self._preload = preload
        self._prefix = prefix
        self._keeps_contexts = keep_contexts()
        self._tasks = _core.Queue(last_first=True)  # an idle worker stays idle, a busy one warm
        self.replies = _core.Queue()
        # Guards what follows. Reentrant: a signal handler or a finalizer may come in at any point.
        self._lock = threading.RLock()
        self._pending: dict[int, TaskFuture] = {}
        self._addressed: dict[TaskFuture, int] = {}  # those for one worker, and its number
        self._workers: dict[int, _core.Worker] = {}
        self._ended_workers = History()
        self.sources: set[Source] = set()
        self._task_ids = count(1)
        self._numbers = count()
        self._collector: threading.Thread | None = None
        self.collector_ident = 0
        self._collecting = threading.Lock()  # held by the collector from its first act on
        self._ended = threading.Event()  # the collector's last act
        self.broken_error: type[BrokenPoolError] = BrokenPoolError
        self._broken: str | None = None
        self._closing = False  # when all sources have ended
        self._closed = False
        self.abandoned = False
        self._stopped = False
        self.given_up = False  # nobody waits for the workers' end any more, though they were told to stop
        self._started: Future[int] = Future()
        known.add(self)

    # Tasks

    def submit(
        self,
        parts: _wire.Parts,
        on_done: Callable[[TaskFuture], None] | None = None,
        source: Source | None = None,
    ) -> TaskFuture:
        """Queue a call that `_wire.dumps_call` took apart; start a worker if one is wanted.

        `on_done` is called with the future when it is resolved, in whatever thread does that; it must be quick. A
        source of this dispatcher's may submit until it has ended, even when the dispatcher is about to close.
        """
        with self._lock:
            if self._broken is not None:
                raise self.broken_error(self._broken)
            if self._tasks.closed or (self._closed and source not in self.sources):
                raise RuntimeError(_CLOSED)
            task = next(self._task_ids)
            future = TaskFuture(self, task, on_done)
            self._pending[task] = future
            if self._keeps_contexts:
                future.context = copy_context() if source is None else source.context
            try:
                future._message = self._tasks.put(CALL, task, parts)
            except _core.QueueClosed:  # by a signal handler, since the check
                self.forget(task)
                raise RuntimeError(_CLOSED) from None
            # One more than there is work for: the next task need not wait for its worker to start.
            wanted = min(self._max_workers, len(self._pending) + 1)
            if len(self._workers) < wanted:
                try:
                    while len(self._workers) < wanted:
                        self._start_worker()
                except Exception:
                    if not self._workers:
                        future.cancel()
                        raise
                except BaseException:
                    future.cancel()
                    raise
            return future

    def submit_to_each(self, parts: _wire.Parts) -> list[TaskFuture]:
        """Queue a call once for each worker, in the order of their numbers; start those that are missing."""
        futures: list[TaskFuture] = []
        with self._lock:
            if self._broken is not None:
                raise self.broken_error(self._broken)
            try:
                if self._tasks.closed or self._closed:
                    raise _core.QueueClosed
                self._start_missing()
                for number in sorted(self._workers):
                    task = next(self._task_ids)
                    future = TaskFuture(self, task, self._on_addressed_done)
                    self._pending[task] = future
                    self._addressed[future] = number
                    futures.append(future)
                    future._message = self._tasks.put_for(number, CALL, task, parts)
            except BaseException as error:
                for future in futures:
                    if not future.cancel() and future._message is None:  # else a worker has it, and will answer
                        self.forget(future._task)
                        self._addressed.pop(future, None)
                if isinstance(error, _core.QueueClosed):
                    raise RuntimeError(_CLOSED) from None
                raise
        return futures

    def _on_addressed_done(self, future: TaskFuture) -> None:
        self._addressed.pop(future, None)

    def forget(self, task: int) -> None:
        """Drop a task that is cancelled, or has its result."""
        self._pending.pop(task, None)

    def about_to_wait(self) -> None:
        """Take note that a thread waits for any of the tasks, in another way than by their futures."""

    def start(self) -> int:
        """Start one worker now, wait until it is ready, and return its interpreter's id."""
        with self._lock:
            self._start_worker()
        return self._started.result()

    def start_all(self) -> None:
        """Start all workers that are missing, and wait for none."""
        with self._lock:
            self._start_missing()

    @property
    def busy(self) -> bool:
        """Whether any worker is running a task."""
        return any(worker.task for worker in list(self._workers.values()))

    def stats(self) -> Stats:
        """Return what the workers have done, and how many tasks wait."""
        with self._lock:
            rows = self._ended_workers.rows()
            rows += [worker_stats(self._name(number), worker.tally()) for number, worker in self._workers.items()]
        waiting = [future._message for future in list(self._pending.values())]
        return Stats(
            tuple(rows),
            sum(message is not None and not message.taken for message in waiting),
            self._tasks.spent / 1e9,
            self.replies.spent / 1e9,
        )

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in every task that is running."""
        for worker in list(self._workers.values()):
            worker.interrupt()

    def interrupt_task(self, future: TaskFuture) -> None:
        """Raise KeyboardInterrupt in this task, which a worker has taken, and in no other."""
        if future._message is not None:
            future._message.refuse()  # it may not have begun yet
        for worker in list(self._workers.values()):
            worker.interrupt(future._task, GRACE)

    # The end

    def add_source(self, source: Source) -> None:
        """Let `source` submit until it has ended, unless the dispatcher is about to close already."""
        if not self._closing:
            self.sources.add(source)

    def end_source(self, source: Source) -> None:
        """Take note that `source` submits nothing more. May be called again."""
        self.sources.discard(source)
        if self._closing:
            self._close_tasks()

    def close(self) -> None:
        """Take no more tasks; workers end when they have done those in the queue. Never waits."""
        if not self.abandoned:
            self._closing = True
            for source in list(self.sources):
                source.submit_rest()
            self._close_tasks()

    def _close_tasks(self) -> None:
        # Not waiting for a source that another thread is at, which may need a lock that this one holds: it comes here,
        # too.
        if not self.sources:
            self._tasks.close()
            with contextlib.suppress(_core.QueueClosed):  # the collector has ended already
                self.replies.put(WAKE, 0, ())

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """As Executor.shutdown; Ctrl-C while waiting stops all that runs and waits."""
        if cancel_futures:
            self._cancel_pending()
        try:
            self.close()
            with self._lock:
                self._closed = True
            if wait:
                for source in list(self.sources):
                    source.leave_off()
                self.join()
        except KeyboardInterrupt:
            if wait:
                self.stop()
            raise

    def leave(self, error: BaseException | None) -> None:
        """Shut down at the end of a ``with`` block, which `error` ends before its time.

        Ctrl-C cuts it short, and so does the cancellation of the coroutine that the block is in: asyncio makes one of
        the other, and to wait would hold up its loop.
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

    def join(self) -> None:
        """Wait until the workers have ended; after close()."""
        collector = self._collector
        if self._lock._is_owned():  # type: ignore[attr-defined]
            return  # in a signal handler, which came while this thread submits: the collector would wait for that
        if not self.abandoned and collector is not None and collector is not threading.current_thread():
            try:
                # Before 3.13, a Thread.join() that Ctrl-C interrupts takes the thread for ended from then on
                # (gh-90882).
                self._ended.wait()
                collector.join()
            except KeyboardInterrupt:
                self.given_up = self._stopped
                raise

    def stop(self) -> None:
        """Cancel what waits and interrupt what runs, or begins to at this moment. Never waits."""
        self._stopped = True
        self._cancel_pending()
        for worker in list(self._workers.values()):
            worker.stop(GRACE)

    def forked_error(self) -> BrokenPoolError:
        """Return what is raised instead of results when the workers are abandoned."""
        return self.broken_error(self._broken)

    def abandon(self) -> None:
        """Forget the workers: this process is a fork, which has none of their threads."""
        self.abandoned = True
        self._workers = {}
        self.sources = set()
        self._lender = None
        self._lock = threading.RLock()  # another thread may have held it
        self._broken = "its workers belong to the process that forked this one; make new ones here"

    def _cancel_pending(self) -> None:
        for source in list(self.sources):
            source.cancel()
        for future in list(self._pending.values()):
            future.cancel()
        if self._lender is not None:
            self._lender.tell_all(CANCEL)

    # Workers

    def lend(self) -> tuple[_core.Queue, _core.Queue, _core.Counter]:
        """Let other interpreters submit, with what this returns; see `_lending`."""
        from owngil._lending import Lender  # few need it

        with self._lock:
            if self.abandoned:
                raise self.forked_error()
            if self._lender is None:
                self._lender = Lender(self)
            if not self._tasks.closed:
                self._start_collector(self._name(0))
            return self._tasks, self.replies, self._lender.numbers

    def _start_collector(self, name: str) -> None:
        if self._collector is None:
            collector = Collector(self._collect, f"{name} collector")
            collector.start()
            self._collector = collector
            live.add(self)

    def _start_missing(self) -> None:
        while len(self._workers) < self._max_workers:
            self._start_worker()

    def _start_worker(self) -> int:
        """Start a worker and return its number."""
        isolation.prepare_main()
        number = next(self._numbers)
        name = self._name(number)
        settings = settings_of_caller() | settings_of_reports()
        setup = _wire.dumps(
            (
                settings,
                self._max_workers,
                self._max_tasks,
                self._preload,
                self._initializer,
            ),
            "the initializer cannot be sent to a worker",
        )
        # Only the path is needed before the import hook is there; repr() of a str is plain source.
        path = ascii([entry for entry in sys.path if isinstance(entry, str)])  # as importlib, which skips others
        bootstrap = f"import sys; sys.path[:] = {path}; from owngil._worker import main; main()"
        self._start_collector(name)
        self._workers[number] = _core.start_worker(name, number, bootstrap, setup, self._tasks, self.replies)
        return number

    def _on_exit(self, number: int, joinable: bool) -> None:
        """Account for a worker that is gone, and replace it if tasks wait."""
        worker = self._workers.get(number)
        if joinable and worker is not None:
            worker.join()  # unloads its copies: without the lock, as that takes a while
            if _core.in_main_interpreter() and _core.count_workers() == 0:
                isolation.restore_threads()
        with self._lock:
            if self.blocked:
                self.blocked -= {number}
            if self._workers.pop(number, None) is not None and worker is not None:
                self._ended_workers.add(self._name(number), worker.tally())
            # Without the lock, futures leave this dict as they are resolved: hence the copy.
            left = [
                future
                for future, receiver in list(self._addressed.items())
                if receiver == number and future._state == "PENDING"
            ]
            failure = None
            wanted = bool(left) or len(self._tasks) > 0
            if self._broken is None and wanted and (left or len(self._workers) < self._max_workers):
                try:
                    heir = self._start_worker()
                except Exception as error:
                    failure = str(error)
                else:
                    self._tasks.readdress(number, heir)
                    self._addressed.update(dict.fromkeys(left, heir))
                    for future in left:
                        if future._state != "PENDING":  # since: it has left already
                            self._addressed.pop(future, None)
        if failure is not None:
            self._fail([future for future in left if future._message is not None and future._message.cancel()], failure)
            if not self._workers:
                self._break(failure)
        if self._lender is not None:
            self._lender.on_exit(number)

    def _done(self) -> bool:
        if self._workers or not self._tasks.closed:
            return False
        with self._lock:
            if self._lender is not None and self._broken is None and len(self._tasks) > 0:
                return False  # the WAKE is still to come, which starts a worker
            return not self._workers and self._tasks.closed

    def _break(self, reason: str) -> None:
        with self._lock:
            self._broken = reason
            self._tasks.close()
            waiting = list(self._pending.values())
        # Those that other workers are running still get their results.
        self._fail([f for f in waiting if f._message is not None and f._message.cancel()], reason)
        if self._lender is not None:
            self._lender.tell_all(BROKEN, (reason.encode("utf-8", "replace"),))
        if not self._started.done():
            self._started.set_exception(self.broken_error(reason))

    def _fail(self, futures: Iterable[TaskFuture], reason: str) -> None:
        """Fail tasks that nobody runs. Without the lock held: this runs the futures' callbacks."""
        for future in futures:
            self.forget(future._task)
            if not future.done():
                future.set_exception(self.broken_error(reason))

    # Replies

    def _collect(self) -> None:
        # There are two if Ctrl-C, or a signal handler that submits, came in between the start of the first and the note
        # of it.
        if not self._collecting.acquire(blocking=False):
            return
        self.collector_ident = threading.get_ident()
        try:
            self.collect_until(self._done, None)
        finally:
            with self._lock:  # it may have ended at once, before it was noted
                live.discard(self)
            self.replies.close()
            # Nothing is left, unless workers died in ways that nobody thought of.
            waiting = [future for future in self._pending.values() if not future.has_answer()]
            self._fail(waiting, "the worker ended without an answer")
            try:
                if self._lender is not None:
                    self._lender.end()
            finally:
                self._ended.set()

    @property
    def _inbox(self) -> _core.Queue:
        """Where what the collector deals with comes."""
        return self.replies

    def collect_until(self, done: Callable[[], bool], deadline: float | None) -> None:
        """Do what replies say until `done`; in the collector. Raises TimeoutError."""
        inbox = self._inbox
        while not done():
            try:
                reply = inbox.get(seconds_left(deadline), True)
            except MemoryError:  # it is still there
                continue
            try:
                self._handle(*reply)
            except BaseException:  # a future's callback that raises SystemExit, for one: other tasks must go on
                sys.excepthook(*sys.exc_info())

    def _handle(self, kind: int, number: int, parts: _wire.Parts) -> None:
        if kind in (RESULT, ERROR):
            self.resolve(kind, number, parts)
        elif kind in REPORTS:
            prefix = f"[{self._name(number)}] " if self._prefix else ""
            deliver(kind, parts, (id(self), number), prefix, self._context_of)
        elif kind == READY:
            worker = self._workers.get(number)
            if worker is None:  # _start_worker() has not returned yet
                with self._lock:
                    worker = self._workers.get(number)
            if worker is not None and not self._started.done():
                self._started.set_result(worker.interpreter_id)
        elif kind == FAILED:
            reason = b"".join(parts).decode() or "out of memory"  # type: ignore[arg-type]
            self._break(f"worker '{self._name(number)}' cannot work:\n{reason.rstrip()}")
        elif kind in (EXITED, KEPT):
            self._on_exit(number, kind == EXITED)
        elif kind == STUCK:
            say(describe_stuck(self._name(number), parts, waits=self._stopped))
        else:
            if kind == BLOCKED:
                self.blocked |= {number}
            elif kind == UNBLOCKED:
                self.blocked -= {number}
            if self._lender is not None:
                self._lender.handle(kind, number, parts)

    def _context_of(self, task: int) -> Context | None:
        future = self._pending.get(task)
        return None if future is None else future.context

    def resolve(self, kind: int, task: int, parts: _wire.Parts) -> None:
        """Give a task's future what its worker has answered."""
        future = self._pending.pop(task, None)
        if future is None:
            assert self._lender is not None
            self._lender.relay(kind, task, parts)
            return
        failure: BaseException | None = None
        result = None
        try:
            if kind == ERROR:
                failure = load_error(_wire.loads(parts, self.replies))
            else:
                result = _wire.loads(parts, self.replies)
        except BaseException as error:
            error.add_note("owngil: the task ended, but what it sent back cannot be rebuilt at the caller")
            failure = error
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(result)
