"""Signal handlers that raise exceptions at every instruction of owngil, and interrupts of workers at every instruction.

    python tests/soak/interrupted.py FOLDER [--attempts N] [--seed K] [--only NAME ...]

FOLDER has the module of tests/extensions/signal_at.c. Each attempt does one of the operations below, with a signal (or
two) at its first, second, third, ... instruction within owngil's files and the standard library's futures and threads.
The handler raises an exception at CPython's next check. After each attempt

- the pool still answers, and no thread holds its lock;
- each future that the operation got is resolved;
- a pool that the attempt was to end ends, and a channel has what was sent through it and not received.

If an operation has more instructions than attempts, a random choice of them is made; if it has fewer, the rest of the
attempts have two signals at random instructions. The number of attempts of each operation is printed as JSON.
"""

import argparse
import asyncio
import contextlib
import faulthandler
import importlib
import json
import os
import platform
import random
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, as_completed, wait

import owngil
from owngil._tasks.exit import known

HANGS_AFTER = 30  # seconds that an attempt takes at most
TOOL = 3  # of sys.monitoring


class Alarm(Exception):
    """What the signal handler raises, if it is not KeyboardInterrupt."""


def handler(number, frame):
    raise Alarm if number == signal.SIGUSR1 else KeyboardInterrupt


class World:
    """What operations use: a pool that lives for long, and lists for what is checked after each attempt."""

    def __init__(self):
        self.pool = owngil.Pool(2)
        self.interpreter = owngil.Interpreter()
        self.prepared = None
        self.futures = []  # must be resolved
        self.pools = []  # must end
        self.renew_channel()
        self.gate = owngil.Channel()

    def renew_channel(self):
        self.channel = owngil.Channel()
        self.sent = 0
        self.received = None

    def submit(self, fn, *args):
        future = self.pool.submit(fn, *args)
        self.futures.append(future)
        return future


# Operations: prepare(world) is not interrupted, and its result is the argument of the other.


def submit(world, _):
    world.submit(abs, -1)


def future_of_task(world):
    return world.submit(abs, -1)


def result(world, future):
    assert future.result() == 1


def exception(world, future):
    assert future.exception() is None


def failed_task(world):
    return world.submit(int, "x")


def failure(world, future):
    assert type(future.exception()) is ValueError


def done_callback(world, future):
    for _ in range(3):
        future.add_done_callback(id)


def waiting_tasks(world):
    """Tasks that wait until the attempt is over, and some behind them, for one of which threads wait."""
    for _ in range(2):
        world.submit(world.gate.recv)
    futures = [world.submit(abs, -1) for _ in range(2)]
    called = []
    futures[0].add_done_callback(called.append)
    threads = [threading.Thread(target=wait, args=(futures[:1],)), threading.Thread(target=futures[0].exception)]
    threads[1] = threading.Thread(target=lambda: wait(futures[:1], return_when=FIRST_COMPLETED))
    for thread in threads:
        thread.start()
    return futures, called, threads


def cancel(world, prepared):
    futures, _, _ = prepared
    for future in futures:
        future.cancel()


def after_cancel(world, prepared):
    futures, called, threads = prepared
    for _ in range(2):
        world.gate.send(None)
    for thread in threads:
        thread.join(HANGS_AFTER)
        assert not thread.is_alive()
    while not called:
        time.sleep(0.0001)  # the collector calls callbacks after it has woken threads
    assert called == [futures[0]]


def stop(world, future):
    future.stop()


def some_tasks(world):
    return [world.submit(pow, 2, k) for k in range(4)]


def wait_for_all(world, futures):
    assert wait(futures).not_done == set()


def wait_for_first(world, futures):
    assert wait(futures, return_when=FIRST_COMPLETED).done
    assert wait(futures, return_when=FIRST_EXCEPTION).done


def completed(world, futures):
    assert len(list(as_completed(futures))) == len(futures)


def track(world, futures):
    shown = []
    assert len(list(owngil.track(futures, lambda done, total: shown.append(done)))) == len(futures)
    assert shown[-1] == len(futures)


def map_of_list(world, _):
    assert list(world.pool.map(abs, [-1] * 40, chunksize=10)) == [1] * 40


def map_with_measured_chunks(world, _):
    assert list(world.pool.map(abs, [-1] * 20)) == [1] * 20


def map_of_generator(world, _):
    assert sorted(world.pool.map(abs, (-k for k in range(20)), ordered=False)) == list(range(20))


def map_with_progress(world, _):
    shown = []
    values = world.pool.map(abs, [-1] * 20, ordered=False, progress=lambda done, total: shown.append(done))
    assert list(values) == [1] * 20
    assert shown[-1] == 20


def broadcast(world, _):
    assert world.pool.broadcast(abs, -1) == [1, 1]


def call(world, _):
    assert world.interpreter.call(abs, -1) == 1


def limited(world, _):
    with world.pool.with_timeout(60) as view:
        assert view.submit(abs, -1).result() == 1


def run(world, _):
    assert owngil.run(abs, -1) == 1


def new_pool(world):
    world.pools.append(owngil.Pool(1))
    return world.pools[-1]


def first_submit(world, pool):
    world.futures.append(pool.submit(abs, -1))


def used_pool(world):
    pool = new_pool(world)
    world.futures += [pool.submit(abs, -1) for _ in range(3)]
    return pool


def shutdown(world, pool):
    pool.shutdown()


def shutdown_with_map(world, pool):
    values = pool.map(abs, [-1] * 20)
    pool.shutdown(cancel_futures=True)
    list(values)


def block(world, pool):
    with pool:
        world.futures.append(pool.submit(abs, -1))


def channel(world, _):
    world.channel.send(1)
    world.sent = 1
    world.received = world.channel.recv(60)  # CPython makes no check between the return of recv() and this


def channel_with_pickles(world, _):
    world.channel.send({"a": [1]})
    world.sent = 1
    world.received = world.channel.recv(60)


def coroutines(world, loop):
    async def exchange():
        await world.channel.asend(1)
        world.sent = 1
        world.received = await world.channel.arecv(60)

    loop.run_until_complete(exchange())


def wrapped(world, loop):
    async def exchange():
        future = world.submit(abs, -1)
        assert await asyncio.wrap_future(future) == 1

    loop.run_until_complete(exchange())


def locks(world, _):
    world.lock, world.semaphore, world.event = owngil.Lock(), owngil.Semaphore(2), owngil.Event()
    with world.lock, world.semaphore:
        world.event.set()
    assert world.event.wait(0)
    assert owngil.Barrier(1).wait() == 0


def after_locks(world, _):
    if hasattr(world, "lock"):  # else the exception came before it was made
        assert not world.lock.locked()


def worker_local(world, _):
    world.local = owngil.worker_local(dict, a=1)
    assert world.local()["a"] == 1


def after_worker_local(world, _):
    assert world.local()["a"] == 1


# In workers. The task interrupts itself, and may then end by KeyboardInterrupt.


def inner_futures(pool):
    futures = [pool.submit(pow, 2, k) for k in range(3)]
    return [future.result() for future in futures], list(pool.map(abs, [-1, -2], chunksize=1)), len(wait(futures).done)


def in_worker(folder, first, second, fn, *args):
    signal_at = load(folder)
    ended = None
    try:
        signal_at.arm(first, second, 0)
        try:
            ended = fn(*args)
        finally:
            count = signal_at.disarm()
    except KeyboardInterrupt:
        count = signal_at.disarm()
    for _ in range(3):  # an interrupt may be pending
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(0)
    return count, ended


def load(folder):
    if folder not in sys.path:
        sys.path.insert(0, folder)
    signal_at = importlib.import_module("signal_at")
    monitoring = sys.monitoring
    if monitoring.get_tool(TOOL) is None:
        monitoring.use_tool_id(TOOL, "signal_at")
        monitoring.register_callback(TOOL, monitoring.events.INSTRUCTION, signal_at.on_instruction)
    monitoring.set_events(TOOL, monitoring.events.INSTRUCTION)
    return signal_at


def nothing(world):
    return None


OPERATIONS = {
    submit: nothing,
    result: future_of_task,
    exception: future_of_task,
    failure: failed_task,
    done_callback: future_of_task,
    cancel: waiting_tasks,
    stop: future_of_task,
    wait_for_all: some_tasks,
    wait_for_first: some_tasks,
    completed: some_tasks,
    track: some_tasks,
    map_of_list: nothing,
    map_with_measured_chunks: nothing,
    map_of_generator: nothing,
    map_with_progress: nothing,
    broadcast: nothing,
    call: nothing,
    limited: nothing,
    run: nothing,
    first_submit: new_pool,
    shutdown: used_pool,
    shutdown_with_map: used_pool,
    block: new_pool,
    channel: nothing,
    channel_with_pickles: nothing,
    coroutines: lambda world: asyncio.new_event_loop(),
    wrapped: lambda world: asyncio.new_event_loop(),
    locks: nothing,
    worker_local: nothing,
    inner_futures: nothing,
}
LOOPS = (coroutines, wrapped)
AFTER = {cancel: after_cancel, locks: after_locks, worker_local: after_worker_local}


class Watch:
    """Ends the program, with all stacks, when an attempt takes too long."""

    def __init__(self):
        self.label = ""
        self.since = time.monotonic()
        threading.Thread(target=self._run, daemon=True).start()

    def begin(self, *label):
        self.label = " ".join(map(str, label))
        self.since = time.monotonic()

    def _run(self):
        while True:
            time.sleep(1)
            if time.monotonic() - self.since > HANGS_AFTER:
                print("hangs:", self.label, file=sys.stderr, flush=True)
                for dispatcher in list(known):
                    print({**vars(dispatcher), "tasks closed": dispatcher.tasks.closed}, file=sys.stderr, flush=True)
                    for source in dispatcher._sources:
                        print("   ", vars(source), file=sys.stderr, flush=True)
                faulthandler.dump_traceback(file=sys.stderr)
                os._exit(2)


def end_loop(loop):
    """End a loop that an exception has left anywhere."""
    loop._thread_id = None
    asyncio._set_running_loop(None)
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        # With a limit, because asyncio does not resume a task if the exception came while it began to wait.
        loop.run_until_complete(asyncio.wait(tasks, timeout=0.1))
    loop.close()


def attempt(world, folder, signal_at, operation, first, second, number):
    """Do the operation once. Return the number of its instructions."""
    if operation is inner_futures:
        count, _ = world.interpreter.call(in_worker, folder, first, second, operation, world.pool)
        return count
    prepared = OPERATIONS[operation](world)
    try:
        try:
            signal_at.arm(first, second, number)
            operation(world, prepared)
        finally:
            count = signal_at.disarm()
    except (Alarm, KeyboardInterrupt, CancelledError):
        count = signal_at.disarm()
    for _ in range(3):  # a signal may be pending
        with contextlib.suppress(Alarm, KeyboardInterrupt):
            time.sleep(0)
    if operation in AFTER:
        AFTER[operation](world, prepared)
    if operation in LOOPS:
        end_loop(prepared)
    check(world)
    return count


def check(world):
    for pool in world.pools:
        pool.shutdown()
        assert not pool._dispatcher.lock._is_owned()
    for dispatcher in (world.pool._dispatcher, world.interpreter._dispatcher):
        assert not dispatcher.lock._is_owned()
    assert world.pool.submit(abs, -1).result(HANGS_AFTER) == 1
    assert world.interpreter.submit(abs, -1).result(HANGS_AFTER) == 1
    for future in world.futures:
        with contextlib.suppress(CancelledError):
            future.exception(HANGS_AFTER)
    assert wait(world.futures, HANGS_AFTER).not_done == set()
    there = len(world.channel) + (world.received is not None)
    assert there == 1 or (there, world.sent) == (0, 0), there  # a sender that is interrupted may have sent
    world.renew_channel()
    assert not threading._active_limbo_lock._is_owned()
    world.futures.clear()
    world.pools.clear()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--attempts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    chance = random.Random(options.seed)
    signal.signal(signal.SIGUSR1, handler)
    signal.signal(signal.SIGUSR2, handler)
    signal_at = load(options.folder)
    world, watch, done, lengths = World(), Watch(), Counter(), {}
    operations = [entry for entry in OPERATIONS if not options.only or entry.__name__ in options.only]
    share = max(1, options.attempts // len(operations))
    for operation in operations:
        name = operation.__name__
        watch.begin(name, "uninterrupted")
        for _ in range(3):
            length = attempt(world, options.folder, signal_at, operation, 0, 0, 0)
        lengths[name] = length
        single = range(1, length + 1)
        if length > share // 2:
            single = sorted(chance.sample(single, max(1, share // 2)))
        pairs = [(chance.randrange(1, length + 1), chance.randrange(1, 100)) for _ in range(share - len(single))]
        for first, second in [*((k, 0) for k in single), *((k, k + more) for k, more in pairs)]:
            # asyncio only logs an Exception of one of its callbacks, and what waits for that callback waits for ever.
            number = chance.choice([signal.SIGUSR1, signal.SIGUSR2]) if operation not in LOOPS else signal.SIGUSR2
            watch.begin(name, first, second, number)
            try:
                attempt(world, options.folder, signal_at, operation, first, second, number)
            except BaseException:
                print("failed:", watch.label, file=sys.stderr, flush=True)
                raise
            done[name] += 1
    watch.begin("end")
    world.interpreter.close()
    world.pool.shutdown()
    print(json.dumps({"python": platform.python_version(), "attempts": done.total(), "of": done, "lengths": lengths}))


if __name__ == "__main__":
    main()
