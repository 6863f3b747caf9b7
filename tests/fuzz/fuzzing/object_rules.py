"""Random steps with interpreters, channels, locks and shared arrays, for `api_calls.py`.

Each call is made in the main interpreter or in a worker: the answer must be the same.
"""

import pickle
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

import owngil
from fuzzing import tasks
from fuzzing.pool_rules import NUMBERS, raised

__all__ = ["ObjectRules"]

VALUES = st.sampled_from([0, "text", (1, 2), b"x" * 5000, [None, {"k": 1.5}], np.arange(5), 10**40, lambda: 7])
DTYPES = ["f8", "i4", "u1", "c16", "S3", "M8[s]", "i2,f4", "?"]
CLOSED, LATE = owngil.ChannelClosed, TimeoutError


def equal(first: Any, second: Any) -> bool:
    """Return whether two objects, which may be arrays or functions, are equal."""
    if callable(first):
        return bool(first() == second())
    if isinstance(first, np.ndarray):
        return type(first) is type(second) and first.dtype == second.dtype and np.array_equal(first, second)
    return type(first) is type(second) and bool(first == second)


def drain(channel: owngil.Channel) -> list[Any]:
    """Receive until a channel is closed and empty."""
    return list(channel)


def assign(array: Any, at: int, value: Any) -> None:
    """Write an element."""
    array.flat[at] = value


def writeable(array: Any) -> tuple[bool, Any]:
    """Return whether an array may be written, and a copy of it."""
    return array.flags.writeable, array.copy()


class InterpreterModel:
    """One interpreter."""

    def __init__(self, interpreter: owngil.Interpreter) -> None:
        self.interpreter = interpreter
        self.names: dict[str, Any] = {}
        self.closed = False


class ChannelModel:
    """One channel."""

    def __init__(self, maxsize: int) -> None:
        self.channel = owngil.Channel(maxsize)
        self.maxsize = maxsize
        self.items: deque[Any] = deque()
        self.closed = False


class ObjectRules:
    """Steps with all but pools."""

    interpreters: list[InterpreterModel]
    channels: list[ChannelModel]
    arrays: list[tuple[Any, Any]]
    counts: Counter[str]
    step: Callable[..., None]

    def begin_objects(self) -> None:
        self.interpreters, self.channels, self.arrays = [], [], []
        self.lock, self.held = owngil.Lock(), False
        self.semaphore, self.bounded, self.left, self.bound = owngil.Semaphore(2), owngil.BoundedSemaphore(2), 2, 2
        self.event, self.is_set = owngil.Event(), False
        self.counter, self.number = owngil.Counter(), 0
        self.barrier, self.is_broken = owngil.Barrier(1), False

    def open_interpreters(self) -> list[InterpreterModel]:
        return [model for model in self.interpreters if not model.closed]

    def at(self, where: int, fn: Callable[..., Any], *args: Any) -> Any:
        """Call a function here or in a worker."""
        models = self.open_interpreters()
        if where % 2 == 0 or not models:
            return fn(*args)
        return models[where // 2 % len(models)].interpreter.call(tasks.apply, fn, *args)

    # Interpreters

    @precondition(lambda self: len(self.open_interpreters()) < 2)
    @rule(prefix=st.booleans())
    def make_interpreter(self, prefix: bool) -> None:
        self.step("make interpreter", prefix)
        model = InterpreterModel(owngil.Interpreter(prefix=prefix))
        assert model.interpreter.id not in [other.interpreter.id for other in self.open_interpreters()]
        self.interpreters.append(model)

    @precondition(lambda self: self.interpreters)
    @rule(number=NUMBERS, name=st.sampled_from("abc"), value=VALUES, way=st.integers(0, 5))
    def use_interpreter(self, number: int, name: str, value: Any, way: int) -> None:
        model = self.interpreters[number % len(self.interpreters)]
        it = model.interpreter
        self.step("interpreter", it.name, way, name, value)
        if model.closed:
            raised(RuntimeError, it.exec, "x = 1")
            raised(RuntimeError, it.call, abs, -1)
            raised(RuntimeError, it.submit, abs, -1)
        elif way == 0:
            raised(SyntaxError, it.exec, "1 +")
            raised(ZeroDivisionError, it.exec, f"{name} = 1 / 0")
        elif way == 1:
            it.exec(f"{name} = value", value=value)
            model.names[name] = model.names["value"] = value
        elif way == 2:
            for known, expected in model.names.items():
                code = f"import __main__; channel.send(__main__.{known})"
                channel = owngil.Channel()
                it.exec(code, channel=channel)
                assert equal(channel.recv(), expected)
        elif way == 3:
            it.interrupt()
            assert equal(it.call(tasks.same, value), value)
        elif way == 4:
            futures = [it.submit(tasks.same, k) for k in range(5)]
            assert [future.result() for future in futures] == list(range(5))
        else:
            raised((TypeError, pickle.PicklingError), it.call, threading.Lock)
            raised((TypeError, pickle.PicklingError), it.call, tasks.same, it)

    @precondition(lambda self: self.interpreters)
    @rule(number=NUMBERS)
    def close_interpreter(self, number: int) -> None:
        model = self.interpreters[number % len(self.interpreters)]
        self.step("close", model.interpreter.name)
        model.interpreter.close()
        model.closed = True

    # Channels

    @precondition(lambda self: len(self.channels) < 3)
    @rule(maxsize=st.integers(0, 3))
    def make_channel(self, maxsize: int) -> None:
        self.step("make channel", maxsize)
        raised(ValueError, owngil.Channel, -1)
        self.channels.append(ChannelModel(maxsize))

    @precondition(lambda self: self.channels)
    @rule(number=NUMBERS, value=VALUES, where=NUMBERS)
    def send(self, number: int, value: Any, where: int) -> None:
        model = self.channels[number % len(self.channels)]
        self.step("send", value, "from", where)
        raised(TypeError, model.channel.send, threading.Lock())
        if model.closed:
            raised(CLOSED, self.at, where, model.channel.send, value, 0.001)
        elif model.maxsize and len(model.items) >= model.maxsize:
            raised(LATE, self.at, where, model.channel.send, value, 0.001)
        else:
            self.at(where, model.channel.send, value)
            model.items.append(value)

    @precondition(lambda self: self.channels)
    @rule(number=NUMBERS, where=NUMBERS, through=st.booleans())
    def receive(self, number: int, where: int, through: bool) -> None:
        model = self.channels[number % len(self.channels)]
        self.step("receive at", where)
        assert len(model.channel) == len(model.items)
        assert model.channel.closed == model.closed
        channel = model.channel
        if through:
            other = owngil.Channel()
            other.send(channel)
            channel = other.recv()
            assert channel == model.channel
            assert hash(channel) == hash(model.channel)
        if model.items:
            assert equal(self.at(where, channel.recv, 0), model.items.popleft())
        else:
            raised(CLOSED if model.closed else LATE, self.at, where, channel.recv, 0.001)

    @precondition(lambda self: self.channels)
    @rule(number=NUMBERS, where=NUMBERS, drains=st.booleans())
    def close_channel(self, number: int, where: int, drains: bool) -> None:
        model = self.channels[number % len(self.channels)]
        self.step("close a channel at", where, drains)
        self.at(where, model.channel.close)
        model.closed = True
        if drains:
            got = self.at(where, drain, model.channel)
            assert len(got) == len(model.items)
            assert all(map(equal, got, model.items))
            self.channels.remove(model)

    # Locks

    @rule(where=NUMBERS, way=st.integers(0, 3))
    def use_lock(self, where: int, way: int) -> None:
        self.step("lock", way, "at", where)
        if way == 0:
            assert self.at(where, self.lock.acquire, False) != self.held
            self.held = True
        elif way == 1:
            assert self.at(where, self.lock.acquire, True, 0.001) != self.held
            self.held = True
        elif self.held:
            self.at(where, self.lock.release)
            self.held = False
        else:
            raised(RuntimeError, self.at, where, self.lock.release)
        assert self.at(where, self.lock.locked) == self.held

    @rule(where=NUMBERS, way=st.integers(0, 3), n=st.integers(-1, 3))
    def use_semaphores(self, where: int, way: int, n: int) -> None:
        self.step("semaphores", way, n, "at", where)
        if way == 0:
            assert self.at(where, self.semaphore.acquire, False) == (self.left > 0)
            self.left = max(0, self.left - 1)
        elif way == 1:
            assert self.at(where, self.bounded.acquire, True, 0.001) == (self.bound > 0)
            self.bound = max(0, self.bound - 1)
        elif n < 1:
            raised(ValueError, self.at, where, self.semaphore.release, n)
        elif way == 2:
            self.at(where, self.semaphore.release, n)
            self.left += n
        elif self.bound + n > 2:
            raised(ValueError, self.at, where, self.bounded.release, n)
        else:
            self.at(where, self.bounded.release, n)
            self.bound += n

    @rule(where=NUMBERS, way=st.integers(0, 5), n=st.integers(-5, 5))
    def use_the_others(self, where: int, way: int, n: int) -> None:
        self.step("event, counter, barrier", way, n, "at", where)
        if way == 0:
            self.at(where, self.event.set if n > 0 else self.event.clear)
            self.is_set = n > 0
        elif way == 1:
            assert self.at(where, self.event.wait, 0.001) == self.at(where, self.event.is_set) == self.is_set
        elif way == 2:
            self.number += n
            assert self.at(where, self.counter.add, n) == self.number
        elif way == 3:
            assert self.at(where, self.counter.exchange, n) == self.number
            self.number = n
            assert self.at(where, self.counter.compare_exchange, n + 1, 5) is False
        elif way == 4:
            if self.is_broken:
                raised(threading.BrokenBarrierError, self.at, where, self.barrier.wait)
            else:
                assert self.at(where, self.barrier.wait) == 0
        else:
            self.at(where, self.barrier.abort if n > 0 else self.barrier.reset)
            self.is_broken = n > 0
        assert self.barrier.broken == self.is_broken
        assert self.counter.value == self.number

    # Shared arrays

    @precondition(lambda self: len(self.arrays) < 4)
    @rule(shape=st.lists(st.integers(0, 4), max_size=3), dtype=st.sampled_from(DTYPES), order=st.sampled_from("CF"),
          way=st.integers(0, 2), where=NUMBERS)  # fmt: skip
    def make_array(self, shape: list[int], dtype: str, order: str, way: int, where: int) -> None:
        self.step("make array", shape, dtype, order, way, "at", where)
        plain = np.zeros(shape, dtype, order=order)
        if way == 0:
            array = self.at(where, owngil.zeros, shape, dtype, order)
        elif way == 1:
            array = self.at(where, owngil.share, plain)
        else:
            plain[...] = np.ones((), "i1").astype(plain.dtype) if plain.dtype.names is None else plain
            array = self.at(where, owngil.full, shape, plain.flat[0] if plain.size else 0, dtype, order)
        assert array.shape == tuple(shape)
        assert equal(array, plain)
        assert array.flags.writeable
        assert array.size == 0 or owngil.share(array) is array  # an empty array of dates arrives as an ordinary one
        self.arrays.append((array, plain))

    @precondition(lambda self: self.arrays)
    @rule(number=NUMBERS, at=NUMBERS, value=st.integers(0, 1), where=NUMBERS, way=st.integers(0, 3))
    def use_array(self, number: int, at: int, value: int, where: int, way: int) -> None:
        array, plain = self.arrays[number % len(self.arrays)]
        self.step("array", way, at, value, "at", where)
        if way == 0 and plain.size:
            element = plain.dtype.type(value) if plain.dtype.kind not in "MSV" else plain.flat[0]
            self.at(where, assign, array, at % plain.size, element)
            plain.flat[at % plain.size] = element
        elif way == 1 and plain.ndim:
            self.arrays[number % len(self.arrays)] = (array[::-2], plain[::-2])
        elif way == 2 and plain.size:
            view = array.view()
            view.flags.writeable = False
            assert not self.at(where, writeable, view)[0]
            again = self.at(where, tasks.same, array)
            assert again.size == 0 or np.shares_memory(again, array)
        is_writeable, there = self.at(where, writeable, array)
        assert is_writeable
        assert there.dtype == plain.dtype
        assert there.shape == plain.shape
        assert np.array_equal(there, plain)
        assert np.array_equal(array, plain)

    def end_objects(self) -> None:
        """Close all interpreters."""
        for model in self.interpreters:
            model.interpreter.close()
