"""The clients of a pool, seen from its owner: the interpreters that it was handed to. Their own side is `handover`.

Each interpreter that a pool was handed to is a client. It puts tasks into the queue of the pool, and tells the owner's
collector what it needs. Answers go to the owner's collector, unless a thread of the client takes them directly; the
collector passes answers for a client on, without reading them.

A wait for a task of the pool does not keep other tasks from running. A worker whose task waits reports that (BLOCKED).
While tasks are queued, and fewer than `max_workers` workers are not blocked, the owner starts another worker. When no
worker is blocked any more, surplus workers end.
"""

import contextlib
import threading
from typing import Protocol

from owngil import _core, _wire
from owngil._tasks.workers import Workers
from owngil._wire.protocol import BROKEN, END, ENDED, INTERRUPT, JOIN, LEAVE, UNBLOCKED

__all__ = ["CLIENT_BITS", "Lender"]

CLIENT_BITS = 40  # of a task number, below the client's number, which is 0 for the owner


class Owner(Protocol):
    """What a lender needs of the dispatcher whose workers these are."""

    tasks: _core.Queue
    replies: _core.Queue
    lock: threading.RLock
    broken: str | None
    workers: Workers

    def start_worker(self) -> int:
        """Start one worker and return its number; with the lock held."""
        raise NotImplementedError

    def break_pool(self, reason: str) -> None:
        """Fail the tasks that wait, because no worker can start."""

    def handle(self, kind: int, number: int, parts: _wire.Parts) -> None:
        """Handle a reply."""


class Lender:
    """What a dispatcher knows of its clients. Only its collector calls the methods, except `tell_all`."""

    def __init__(self, dispatcher: Owner) -> None:
        self._dispatcher = dispatcher
        self.numbers = _core.Counter()  # gives clients their numbers
        self._clients: dict[int, _core.Queue] = {}
        self._ending: set[int] = set()  # surplus workers that were told to end
        self._over = False

    def handle(self, kind: int, number: int, parts: _wire.Parts) -> None:
        """Handle what a client asks for, or a worker reports of its waits. Start a worker if one is wanted then."""
        dispatcher = self._dispatcher
        if kind == JOIN:
            queue = parts[0]
            assert isinstance(queue, _core.Queue)
            self._clients[number] = queue
            if dispatcher.broken is not None:
                self._tell(queue, BROKEN, 0, (dispatcher.broken.encode("utf-8", "replace"),))
        elif kind == LEAVE:
            self._clients.pop(number, None)
        elif kind == UNBLOCKED:
            if not dispatcher.workers.blocked:
                _core.locked(dispatcher.lock, self._end_surplus)
        elif kind == INTERRUPT:
            dispatcher.workers.interrupt(number)
        self._start_wanted()

    def _start_wanted(self) -> None:
        dispatcher = self._dispatcher
        failure = _core.locked(dispatcher.lock, self._start_one)
        if failure is not None:
            dispatcher.break_pool(failure)

    def _start_one(self) -> str | None:
        """Start a worker if one is wanted. If none could start, and there is no other, return why."""
        dispatcher = self._dispatcher
        workers = dispatcher.workers
        active = len(workers.alive.keys() - workers.blocked - self._ending)
        full = active >= workers.limit or len(dispatcher.tasks) == 0
        if not full and not self._over and dispatcher.broken is None:
            try:
                dispatcher.start_worker()
            except Exception as error:
                return str(error) if active == 0 else None
        return None

    def _end_surplus(self) -> None:
        dispatcher = self._dispatcher
        numbers = sorted(dispatcher.workers.alive.keys() - self._ending)
        for number in numbers[dispatcher.workers.limit :]:
            self._ending.add(number)
            with contextlib.suppress(_core.QueueClosed):  # it will end anyway
                dispatcher.tasks.put_for(number, END, 0, ())

    def on_exit(self, number: int) -> None:
        """Record that a worker has ended."""
        self._ending.discard(number)
        self._start_wanted()

    def relay(self, kind: int, task: int, parts: _wire.Parts) -> None:
        """Pass an answer on to the client that has submitted the task."""
        client = self._clients.get(task >> CLIENT_BITS)
        if client is not None:  # None: it has left
            self._tell(client, kind, task, parts)

    def tell_all(self, kind: int, parts: _wire.Parts = ()) -> None:
        """Send a message to all clients. Any thread may call this."""
        for client in list(self._clients.values()):
            self._tell(client, kind, 0, parts)

    def end(self) -> None:
        """Tell all clients, also those that have just joined, that no answer will come. `replies` must be closed."""
        dispatcher = self._dispatcher
        self._over = True
        with contextlib.suppress(_core.QueueClosed):
            while True:
                dispatcher.handle(*dispatcher.replies.get(0, True))
        self.tell_all(ENDED)

    @staticmethod
    def _tell(client: _core.Queue, kind: int, task: int, parts: _wire.Parts) -> None:
        try:
            client.put(kind, task, parts)
        except _core.QueueClosed:
            pass  # the client is about to leave
        except MemoryError:
            client.close()  # the client cannot know what it has missed, and fails its futures
