"""Random objects on all ways between the main interpreter and workers: what arrives equals what was sent.

- Equal means: types, values to the bit, element types, shapes, layouts of arrays, and which references are of the
  same object, cycles too (fuzzing/describe.py). What pickle and multiprocessing can send, owngil can.
- Arrays that are arguments are read-only in the worker, results are writable, and the caller's objects do not change.
- Functions and classes that cannot be imported work as they do here.
- Hostile objects (fuzzing/hostile.py has all kinds) raise an exception or arrive; afterwards the worker works on, and
  every future is resolved.

A case is some dozen objects; `cases.py` has the options. Which object was under way is in build/fuzz when it crashes.
"""

import os
import random
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import cloudpickle
from fuzzing import cases, objects
from fuzzing.describe import check_read_only, describe, difference, lent_arrays
from fuzzing.hostile import HOSTILE

import owngil

OBJECTS = int(os.environ.get("OWNGIL_FUZZ_OBJECTS", 60))


class OfMain:
    """A class of `__main__`: it goes by value."""

    made = 0

    def __init__(self, value: Any) -> None:
        self.value = value
        type(self).made += 1

    def describe(self) -> Any:
        return describe(self.value)


def of_main(depth: int, thing: Any) -> Any:
    """Call itself, as a function of `__main__`."""
    return of_main(depth - 1, thing) if depth else describe(thing)


def made_there(seed: float, depth: int) -> Any:
    return objects.tree(random.Random(seed), depth, [])


def hostile_there(number: int) -> Any:
    return HOSTILE[number]()


def raise_with(thing: Any) -> None:
    raise ValueError(thing)


def hostile_error(number: int) -> None:
    raise ValueError(HOSTILE[number]())


def receive(channel: owngil.Channel) -> Any:
    return check_read_only(channel.recv())


def check(sent: Any, there: Any, where: str) -> None:
    """Compare two descriptions."""
    if found := difference(sent, there):
        raise AssertionError(f"the object is another {where}: {found}")


class Wire:
    """A pool and an interpreter, and the ways between."""

    def __init__(self, rng: random.Random, pool: owngil.Pool, it: owngil.Interpreter) -> None:
        self.rng, self.pool, self.it = rng, pool, it
        self.counts: Counter[str] = Counter()

    # Sound objects

    def send(self, thing: Any) -> None:
        """Send an object on a random way, and check what arrives."""
        sent = describe(thing)
        way = self.rng.choice([self.call, self.map, self.channel, self.closure, self.of_main, self.error])
        cases.note(f"{way.__name__}: {repr(sent)[:3000]}")
        way(thing, sent)
        check(sent, describe(thing), "afterwards at the caller")
        self.counts[f"objects by {way.__name__}"] += 1

    def compare(self, got: Any, sent: Any) -> None:
        check(sent, describe(got), "as it came back")

    def call(self, thing: Any, sent: Any) -> None:
        got, there = self.it.call(check_read_only, thing)
        check(sent, there, "in the worker")
        self.compare(got, sent)

    def map(self, thing: Any, sent: Any) -> None:
        for got, there in self.pool.map(check_read_only, [thing, thing], chunksize=self.rng.choice([1, 2])):
            check(sent, there, "in the worker")
            self.compare(got, sent)

    def channel(self, thing: Any, sent: Any) -> None:
        channel = owngil.Channel()
        channel.send(thing)
        got, there = self.it.call(receive, channel)
        check(sent, there, "in the worker")
        self.compare(got, sent)

    def closure(self, thing: Any, sent: Any) -> None:
        there = self.it.call(lambda: describe(thing))
        check(sent, there, "in the worker")

    def of_main(self, thing: Any, sent: Any) -> None:
        check(sent, self.it.call(of_main, 2, thing), "in a function of __main__")
        check(sent, self.it.call(OfMain(thing).describe), "in a method of __main__")
        got = self.it.call(lambda thing: [thing], OfMain(thing))[0]
        assert type(got) is OfMain
        self.compare(got.value, sent)

    def error(self, thing: Any, sent: Any) -> None:
        error = self.it.submit(raise_with, thing).exception()
        assert error is not None
        assert isinstance(error.__cause__, owngil.RemoteTraceback)
        if not isinstance(error, owngil.RemoteError):  # which stands for an exception that pickle cannot send
            assert type(error) is ValueError
            self.compare(error.args, describe(cloudpickle.loads(cloudpickle.dumps((thing,)))))

    def receive(self) -> None:
        """Let a worker make an object, and compare with the same object made here."""
        seed, depth = self.rng.random(), self.rng.randrange(4)
        here = made_there(seed, depth)
        sent = describe(here)
        cases.note(f"made there: {repr(sent)[:3000]}")
        got = self.rng.choice([self.it, self.pool]).submit(made_there, seed, depth).result()
        self.compare(got, sent)
        for mine, its in zip(lent_arrays(here), lent_arrays(got), strict=True):
            assert its.flags.writeable >= mine.flags.writeable, "a result cannot be written to"
        self.counts["objects made there"] += 1

    def function(self) -> None:
        """Call a function that goes by value."""
        fn, args, expected = objects.by_value(self.rng)
        cases.note(f"function {fn!r}")
        for _ in range(2):
            got = self.it.call(fn, *args)
            assert got == expected, f"{fn} returned {got!r}, not {expected!r}"
        back = self.it.call(lambda: fn)
        assert back(*args) == expected
        self.counts["functions"] += 1

    # Hostile ones

    def hostile(self) -> None:
        """Let a hostile object go one of the ways. An exception is right, and a result too."""
        number = self.rng.randrange(len(HOSTILE))
        thing = self.rng.choice([lambda: HOSTILE[number](), lambda: [1, HOSTILE[number](), "x"]])()
        ways: list[tuple[str, Callable[[], Any]]] = [
            ("argument", lambda: self.it.call(type, thing)),
            ("there and back", lambda: self.it.call(lambda x: x, thing)),
            ("map", lambda: list(self.pool.map(type, [thing, thing]))),
            ("keyword", lambda: self.it.call(dict, k=thing)),
            ("result", lambda: self.it.call(hostile_there, number)),
            ("results of a map", lambda: list(self.pool.map(hostile_there, [number] * 3, chunksize=2))),
            ("error", lambda: self.it.submit(hostile_error, number).exception().args),  # type: ignore[union-attr]
            ("error with an argument", lambda: self.it.submit(raise_with, thing).exception()),
            ("channel", lambda: owngil.Channel().send(thing)),
            ("channel to a worker", lambda: self.through_channel(thing)),
            ("closure", lambda: self.it.call(lambda: type(thing))),
            ("exec", lambda: self.it.exec("x = None", x=thing)),
            ("broadcast", lambda: self.pool.broadcast(hostile_there, number)),
        ]
        name, way = self.rng.choice(ways)
        cases.note(f"hostile object {number} as {name}")
        try:
            way()
            what = "arrived"
        except BaseException as error:
            what = "raised"
            if isinstance(error, (AssertionError, KeyboardInterrupt)):
                raise
            self.counts[f"hostile raised {type(error).__name__}"] += 1
            del error
        self.counts[f"hostile {what}"] += 1
        assert self.it.call(abs, -1) == 1
        assert list(self.pool.map(abs, [-1, -2, -3])) == [1, 2, 3]

    def through_channel(self, thing: Any) -> None:
        channel = owngil.Channel()
        channel.send(thing)
        try:
            self.it.call(channel.recv, 10)
        finally:
            assert len(channel) == 0, "what cannot be rebuilt is still in the channel"


def run(rng: random.Random, name: str) -> Counter[str]:
    warnings.simplefilter("ignore")
    with owngil.Pool(2) as pool, owngil.Interpreter() as it:
        wire = Wire(rng, pool, it)
        for _ in range(OBJECTS):
            dice = rng.random()
            if dice < 0.4:
                wire.send(objects.tree(rng, rng.randrange(5), []))
            elif dice < 0.55:
                wire.send(objects.arrays(rng))
            elif dice < 0.7:
                wire.receive()
            elif dice < 0.8:
                wire.function()
            else:
                wire.hostile()
    return wire.counts


if __name__ == "__main__":
    cases.main(run)
