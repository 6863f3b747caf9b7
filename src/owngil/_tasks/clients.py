"""The clients of a pool: interpreters that it was handed to. The clients' own side is `handover`.

Clients, one for each interpreter that the pool was handed to, put their tasks into the queue of the pool's own, and
tell its collector what they need. Answers come like all others, unless a client's thread takes them directly; the
collector hands on those that are for clients, unread.

No wait for a task of the pool keeps another from running: a worker whose task waits says so (BLOCKED), and while tasks
are queued and fewer than `max_workers` workers are not blocked, another is started. What is too many ends when nobody
is blocked any more.
"""

import contextlib
import threading
from typing import Protocol

from owngil import _core, _wire
from owngil._tasks.workers import Workers
from owngil._wire.protocol import BROKEN, END, ENDED, INTERRUPT, JOIN, LEAVE, UNBLOCKED

__all__ = ["CLIENT_BITS", "Lender"]

CLIENT_BITS = 40  # a client's tasks have its number above these, the owner's none


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
        """Fail what waits for a worker, as none can be had."""

    def handle(self, kind: int, number: int, parts: _wire.Parts) -> None:
        """Do what a reply says."""


class Lender:
    """What a dispatcher knows of its clients. All but `tell_all` is for its collector."""

    def __init__(self, dispatcher: Owner) -> None:
        self._dispatcher = dispatcher
        self.numbers = _core.Counter()  # of the clients
        self._clients: dict[int, _core.Queue] = {}
        self._ending: set[int] = set()  # workers
        self._over = False

    def handle(self, kind: int, number: int, parts: _wire.Parts) -> None:
        """Do what a client says, or a worker of its waits; or nothing but look whether a worker is wanted."""
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
                self._end_surplus()
        elif kind == INTERRUPT:
            dispatcher.workers.interrupt(number)
        self._start_wanted()

    def _start_wanted(self) -> None:
        dispatcher = self._dispatcher
        failure = None
        with dispatcher.lock:
            workers = dispatcher.workers
            active = len(workers.alive.keys() - workers.blocked - self._ending)
            full = active >= workers.limit or len(dispatcher.tasks) == 0
            if full or self._over or dispatcher.broken is not None:
                return
            try:
                dispatcher.start_worker()
            except Exception as error:
                failure = str(error)
        if failure is not None and active == 0:
            dispatcher.break_pool(failure)

    def _end_surplus(self) -> None:
        dispatcher = self._dispatcher
        with dispatcher.lock:
            numbers = sorted(dispatcher.workers.alive.keys() - self._ending)
            for number in numbers[dispatcher.workers.limit :]:
                self._ending.add(number)
                with contextlib.suppress(_core.QueueClosed):  # it ends anyway
                    dispatcher.tasks.put_for(number, END, 0, ())

    def on_exit(self, number: int) -> None:
        """Take note that a worker has ended."""
        self._ending.discard(number)
        self._start_wanted()

    def relay(self, kind: int, task: int, parts: _wire.Parts) -> None:
        """Hand an answer on to the client whose task it is."""
        client = self._clients.get(task >> CLIENT_BITS)
        if client is not None:  # else it has left
            self._tell(client, kind, task, parts)

    def tell_all(self, kind: int, parts: _wire.Parts = ()) -> None:
        """Tell all clients. In any thread."""
        for client in list(self._clients.values()):
            self._tell(client, kind, 0, parts)

    def end(self) -> None:
        """Tell the clients that nothing comes any more, also those that have joined since; when `replies` is closed."""
        dispatcher = self._dispatcher
        self._over = True
        with contextlib.suppress(_core.QueueClosed):
            while True:
                dispatcher.handle(*dispatcher.replies.get(0, True))
        self.tell_all(ENDED)

    @staticmethod
    def _tell(client: _core.Queue, kind: int, task: int, parts: _wire.Parts) -> None:
        with contextlib.suppress(_core.QueueClosed):  # it is about to leave
            client.put(kind, task, parts)
