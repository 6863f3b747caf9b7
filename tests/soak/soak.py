"""A million tasks that fail, are cancelled and interrupted, in pools that recycle, nest, fork and end in all ways.

    python tests/soak/soak.py [--tasks N] [--seconds S] [--seed K] [--json FILE]

The soak runs in rounds until N tasks were submitted and S seconds have passed. Each round has a pool of its own, and an
array with a cell for each task, which the task increments when it runs: the array shows which tasks ran without asking
the pool. After the pool's end,

- a task that returned or raised has run once, a cancelled task has not run, and an interrupted task has run at most
  once;
- each future is done, has the right outcome, and has called its callback once;
- there are as many threads and descriptors as before the first round.

The summary, with the memory after each round, is printed as JSON. The exit code is 0 if there was no anomaly. The
seed determines the random decisions, but not the moments at which threads run and signals arrive.
"""

import argparse
import asyncio
import faulthandler
import gc
import json
import os
import platform
import random
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, CancelledError, as_completed, wait
from pathlib import Path

import numpy as np

import owngil

HANGS_AFTER = 300  # seconds that a round takes at most
WORKER_LEAVES = 1.5  # MB that a closed worker may leave behind: memory of extension modules' statics, docs/design.md
TASK_LEAVES = 40  # bytes that a task may leave behind

# In workers

_runs = None


def prepare(runs, started):
    global _runs
    _runs = runs
    started.add()


def plain(k):
    _runs[k] += 1
    return 2 * k


def slow(k):
    _runs[k] += 1
    time.sleep(k % 7 / 1000)
    return 2 * k


def array(k):
    _runs[k] += 1
    return np.full(k % 5000 + 1, k)


class CannotLeave(Exception):
    def __reduce__(self):
        raise TypeError("it stays")


ERRORS = [LookupError, OSError, CannotLeave, SystemExit, StopIteration, GeneratorExit, MemoryError]


def fail(k):
    _runs[k] += 1
    raise ERRORS[k % len(ERRORS)](k)


def spin(k):
    """Run until interrupted."""
    _runs[k] += 1
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass
    return "never interrupted"


def block(k, channel):
    """Wait until interrupted."""
    _runs[k] += 1
    channel.recv(60)


def nested(k, ids, started):
    """Let a pool in this worker run tasks."""
    _runs[k] += 1
    with owngil.Pool(1, initializer=prepare, initargs=(_runs, started), max_tasks_per_child=3) as pool:
        futures = [pool.submit(plain, j) for j in ids]
        return sum(future.result() for future in futures)


def handed(k, ids, pool):
    """Run tasks in the pool that runs this task, and wait for them."""
    _runs[k] += 1
    futures = [pool.submit(plain, j) for j in ids]
    return sum(future.result() for future in futures)


# In main

DONE, FAILED, CANCELLED, INTERRUPTED, UNKNOWN = "done", "failed", "cancelled", "interrupted", "unknown"
ALLOWED = {DONE: {1}, FAILED: {1}, CANCELLED: {0}, INTERRUPTED: {0, 1}, UNKNOWN: {0, 1}}


class Alarm(Exception):
    """Raised by a signal handler while this thread waits."""


class Soak:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.started = owngil.Counter()
        self.tasks = 0
        self.outcomes = Counter()
        self.anomalies = []
        self.rounds = []
        self.alarms = self.timeouts = 0

    def report(self, text):
        self.anomalies.append(text)
        print(f"anomaly: {text}", file=sys.stderr, flush=True)


class Round:
    """One pool and its tasks."""

    def __init__(self, soak, size):
        self.soak = soak
        self.random = random.Random(soak.random.random())
        self.size = size
        self.runs = owngil.zeros(size, dtype="uint8")
        self.next_id = 0
        self.lock = threading.Lock()
        self.outcomes = {}
        self.called = Counter()  # callbacks by task
        self.expected_calls = set()
        self.interrupts = self.random.random() < 0.4
        self.recycles = self.random.choice([None, None, size // 5, size // 14])
        self.silent = owngil.Channel()
        started = {"initializer": prepare, "initargs": (self.runs, soak.started)}
        if self.random.random() < 0.25 and self.recycles is None:
            self.pool = owngil.InterpreterPoolExecutor(2, **started)
        else:
            self.pool = owngil.Pool(2, max_tasks_per_child=self.recycles, **started)
        self.futures = []  # (future, id, function, ids of nested ones)

    def ids(self, count):
        with self.lock:
            first = self.next_id
            self.next_id = min(self.size, first + count)
            return range(first, self.next_id)

    def submit_one(self, rng, k):
        dice = rng.random()
        args, inner = (), ()
        if dice < 0.8:
            fn = plain
        elif dice < 0.92:
            fn = fail
        elif dice < 0.96:
            fn = array
        elif dice < 0.97:
            fn = slow
        elif self.interrupts and dice < 0.972:
            fn, args = (spin, ()) if dice < 0.971 else (block, (self.silent,))
        elif dice > 0.9998:
            inner = self.ids(5)
            fn, args = nested, (list(inner), self.soak.started)
        elif dice > 0.999:
            inner = self.ids(5)
            fn, args = handed, (list(inner), self.pool)
        else:
            fn = plain
        future = self.pool.submit(fn, k, *args)
        if rng.random() < 0.1:
            self.expected_calls.add(k)
            future.add_done_callback(lambda future: self.count_call(k))
        return future, k, fn, inner

    def count_call(self, k):
        with self.lock:
            self.called[k] += 1

    # Ways to submit and to wait

    def work(self, rng):
        """Submit until the round's ids are used up."""
        ways = [self.in_order, self.as_completed, self.some_cancelled, self.first_ones, self.by_map, self.by_asyncio]
        while True:
            way = self.fork if rng.random() < 0.02 else rng.choice(ways)
            ids = self.ids(rng.choice([3, 100, 2000] if way == self.by_map else [3, 50, 500]))
            if not ids:
                break
            way(rng, ids)

    def submit(self, rng, ids):
        new = [self.submit_one(rng, k) for k in ids]
        with self.lock:
            self.futures += new
        return new

    def in_order(self, rng, ids):
        for item in self.submit(rng, ids):
            self.collect(rng, *item)

    def as_completed(self, rng, ids):
        new = {item[0]: item for item in self.submit(rng, ids)}
        for future in as_completed(new):
            self.collect(rng, *new[future])

    def some_cancelled(self, rng, ids):
        new = self.submit(rng, ids)
        for future, *_ in rng.sample(new, len(new) // 3):
            if future.cancel() != future.cancelled():
                self.soak.report("cancel() and cancelled() differ")
        for item in new:
            self.collect(rng, *item)

    def fork(self, rng, ids):
        new = self.submit(rng, ids)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forks with threads
            child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # faulthandler's watchdog would wait for its lost thread
            signal.alarm(HANGS_AFTER)
            left = [future for future, *_ in new if not future.done()]
            try:
                for submit in (lambda: self.pool.submit(plain, 0), *(future.result for future in left)):
                    try:
                        submit()
                    except owngil.BrokenPoolError:
                        pass
                    else:
                        os._exit(1)
                os._exit(0)
            finally:
                os._exit(2)
        if os.waitpid(child, 0)[1] != 0:
            self.soak.report("a forked child did not learn that it has no workers")
        for item in new:
            self.collect(rng, *item)

    def first_ones(self, rng, ids):
        left = {item[0] for item in self.submit(rng, ids)}
        while left:
            done, left = wait(left, return_when=FIRST_COMPLETED)
            if not done:
                self.soak.report("wait() returned with nothing done")

    def by_map(self, rng, ids):
        self.note(ids, UNKNOWN)
        options = {"chunksize": rng.choice([1, 7, 100])}
        if isinstance(self.pool, owngil.InterpreterPoolExecutor):
            ordered = True
        else:
            options["ordered"] = ordered = rng.random() < 0.5
            options["chunksize"] = rng.choice([None, options["chunksize"]])
        wanted = rng.randrange(len(ids)) + 1 if rng.random() < 0.1 else len(ids)
        results = []
        try:
            for value in self.pool.map(plain, ids, **options):
                results.append(value)
                if len(results) == wanted:
                    break  # if results are left, the map is garbage-collected
        except KeyboardInterrupt:
            if not self.interrupts:
                self.soak.report("a map was interrupted without an interrupt")
            wanted = len(results)
        had = [value // 2 for value in results]
        right = had == list(ids[:wanted]) if ordered else len(had) == wanted and set(had) <= set(ids)
        if not right or len(set(had)) != len(had):
            self.soak.report(f"a map of {len(ids)} gave {len(results)} results, or others")
        self.note(had, DONE)

    def by_asyncio(self, rng, ids):
        self.note(ids, UNKNOWN)

        async def main():
            loop = asyncio.get_running_loop()
            futures = [loop.run_in_executor(self.pool, plain, k) for k in ids]
            return await asyncio.gather(*futures, return_exceptions=True)

        for k, value in zip(ids, asyncio.run(main()), strict=True):
            if isinstance(value, KeyboardInterrupt) and self.interrupts:
                self.note([k], INTERRUPTED)
            elif value != 2 * k:
                self.soak.report(f"asyncio got {value!r} of task {k}")
            else:
                self.note([k], DONE)

    def note(self, ids, outcome):
        with self.lock:
            self.outcomes.update(dict.fromkeys(ids, outcome))

    # Outcomes

    def wait_for(self, rng, future):
        """Wait until the future is done, or until a timeout, or until a signal if this is the main thread."""
        dice = rng.random()
        if dice < 0.02:
            try:
                return future.result(rng.random() * 0.0005)
            except TimeoutError:
                self.soak.timeouts += 1
        elif dice < 0.1 and threading.current_thread() is threading.main_thread():
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, rng.random() * 0.0003 + 0.00001)
                    return future.result()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Alarm:
                self.soak.alarms += 1
            except RuntimeError as error:
                # threading.Condition.wait() raises this if the handler raises while wait() takes its lock again.
                if str(error) != "cannot release un-acquired lock" or error.__cause__ is not None:
                    raise
                self.soak.alarms += 1
        return future.result()

    def collect(self, rng, future, k, fn, inner):
        """Record the outcome of a task and of the tasks inside it."""
        outcome = self.outcome_of(rng, future, k, fn, inner)
        self.note([k], outcome)
        self.note(inner, outcome if outcome in (DONE, CANCELLED) else UNKNOWN)

    def outcome_of(self, rng, future, k, fn, inner):
        try:
            value = self.wait_for(rng, future)
        except CancelledError:
            return CANCELLED
        except KeyboardInterrupt:
            if self.interrupts:
                return INTERRUPTED
            self.soak.report(f"task {k} was interrupted without an interrupt")
            return UNKNOWN
        except BaseException as error:
            if fn is handed and isinstance(error, RuntimeError) and "shutdown" in str(error):
                return UNKNOWN  # the task ran after the pool's end
            wanted = ERRORS[k % len(ERRORS)]
            name = error.type_name if isinstance(error, owngil.RemoteError) else type(error).__name__
            if fn is not fail or not name.endswith(wanted.__name__):
                self.soak.report(f"{fn.__name__}({k}) raised {error!r}: {error.__cause__}")
            return FAILED
        if fn is array:
            right = len(value) == k % 5000 + 1 and (value == k).all()
        else:
            right = value == (sum(2 * j for j in inner) if fn in (nested, handed) else 2 * k)
        if not right:
            self.soak.report(f"{fn.__name__}({k}) returned {value!r}")
        return DONE

    # The whole soak

    def run(self):
        ended = threading.Event()
        interrupter = None
        if self.interrupts:
            interrupter = threading.Thread(target=self.interrupt_until, args=(ended,))
            interrupter.start()
        helper = None
        if self.random.random() < 0.3:
            helper = threading.Thread(target=self.work, args=(random.Random(self.random.random()),))
            helper.start()
        self.work(self.random)
        if helper is not None:
            helper.join()
        self.end(ended, interrupter)
        self.account()

    def interrupt_until(self, ended):
        rng = random.Random(self.size)
        while not ended.wait(rng.uniform(0.02, 0.3)):
            self.pool.interrupt()

    def end(self, ended, interrupter):
        """Close the pool in a random way, sometimes with tasks in the queue."""
        way = self.random.choice(["shutdown", "with", "not waiting", "cancelling", "ctrl-c", "forgotten"])
        try:
            if way == "shutdown":
                self.pool.shutdown()
            elif way == "with":
                with self.pool:
                    pass
            elif way == "not waiting":
                self.pool.shutdown(wait=False)
                self.pool.shutdown()
            elif way == "cancelling":
                self.pool.shutdown(cancel_futures=True)
            elif way == "ctrl-c":
                self.interrupts = True
                try:
                    with self.pool:
                        raise KeyboardInterrupt
                except KeyboardInterrupt:
                    pass
        finally:
            ended.set()
        if interrupter is not None:
            interrupter.join()
        if way == "forgotten":
            collector = self.pool._dispatcher._collector
            del self.pool
            gc.collect()
            collector.join()

    def account(self):
        for item in self.futures:
            if not item[0].done():
                self.soak.report(f"the future of {item[2].__name__}({item[1]}) is not done after the pool's end")
            elif item[1] not in self.outcomes:
                self.collect(self.random, *item)
        for k in range(self.next_id):
            outcome = self.outcomes.get(k)
            self.soak.outcomes[outcome] += 1
            if outcome is None or self.runs[k] not in ALLOWED[outcome]:
                self.soak.report(f"task {k} of round {len(self.soak.rounds)} is {outcome} and ran {self.runs[k]} times")
        for k in self.expected_calls:
            if self.called[k] != 1:
                self.soak.report(f"the callback of task {k} was called {self.called[k]} times")
        self.soak.tasks += self.next_id


def _threads():
    return len(os.listdir("/proc/self/task"))


def _descriptors():
    return len(os.listdir("/proc/self/fd"))


def _megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def growth(rounds):
    """Return how much memory each worker added, in MB, and each task, in bytes, and two standard errors of each.

    None after too few rounds. The growth of each round is fitted by least squares to its numbers of workers and tasks:
    sums over all rounds would not tell the two apart.
    """
    if len(rounds) < 20:
        return None
    counts = np.diff([[entry["workers"], entry["tasks"]] for entry in rounds], axis=0).astype(float)
    added = np.diff([entry["megabytes"] for entry in rounds])
    fitted = np.linalg.lstsq(counts, added, rcond=None)[0]
    variance = ((added - counts @ fitted) ** 2).sum() / (len(added) - 2)
    errors = 2 * np.sqrt(np.diag(variance * np.linalg.inv(counts.T @ counts)))
    return {
        "megabytes_by_worker": np.round([fitted[0], errors[0]], 3).tolist(),
        "bytes_by_task": np.round(np.array([fitted[1], errors[1]]) * 2**20, 1).tolist(),
    }


def _ring(number, frame):
    raise Alarm


def run(tasks, seconds, seed, size=20_000):
    """Run the soak and return the summary."""
    signal.signal(signal.SIGALRM, _ring)
    soak = Soak(seed)
    with owngil.Pool(1) as pool:  # the first limit of time starts a thread that lives on
        pool.with_timeout(60).submit(abs, 1).result()
    begin = time.monotonic()
    before = None
    while soak.tasks < tasks or time.monotonic() - begin < seconds:
        faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
        Round(soak, size).run()
        gc.collect()
        soak.rounds.append(
            {
                "tasks": soak.tasks,
                "workers": soak.started.value,
                "seconds": round(time.monotonic() - begin, 1),
                "megabytes": round(_megabytes(), 1),
                "threads": _threads(),
                "descriptors": _descriptors(),
            }
        )
        print(json.dumps(soak.rounds[-1]), file=sys.stderr, flush=True)
        if before is None:
            before = soak.rounds[0]
    faulthandler.cancel_dump_traceback_later()
    last = soak.rounds[-1]
    for what in ("threads", "descriptors"):
        if last[what] > before[what]:
            soak.report(f"{last[what]} {what} at the end, {before[what]} after the first round")
    leaves = growth(soak.rounds[1:])
    if leaves is not None:
        for what, most in (("megabytes_by_worker", WORKER_LEAVES), ("bytes_by_task", TASK_LEAVES)):
            value, error = leaves[what]
            if value - error > most:
                soak.report(f"memory grows: {what} {value}, give or take {error}")
    return {
        "python": platform.python_version(),
        "owngil": owngil.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "seed": seed,
        "tasks": soak.tasks,
        "seconds": last["seconds"],
        "outcomes": dict(soak.outcomes),
        "workers": soak.started.value,
        "signals": soak.alarms,
        "timeouts": soak.timeouts,
        "threads": [before["threads"], last["threads"]],
        "descriptors": [before["descriptors"], last["descriptors"]],
        "megabytes": [entry["megabytes"] for entry in soak.rounds],
        "workers_by_round": [entry["workers"] for entry in soak.rounds],
        **(leaves or {}),
        "anomalies": soak.anomalies,
    }


def main():
    """Parse the arguments, run, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=600, help="go on so long at least (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--round", type=int, default=20_000, help="tasks of a round (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the summary there")
    options = parser.parse_args()
    summary = run(options.tasks, options.seconds, options.seed, options.round)
    text = json.dumps(summary)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")
    return 1 if summary["anomalies"] else 0


if __name__ == "__main__":
    import soak  # so that workers import its functions by name

    sys.exit(soak.main())
