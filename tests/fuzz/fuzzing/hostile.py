"""Hostile objects, for `wire_objects.py`: what pickle runs on the way raises exceptions, lies, or asks for too much."""

import pickle
import sys
import threading
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fuzzing.objects import Node

__all__ = ["HOSTILE"]


class Reduces:
    """An object whose `__reduce__` gives whatever it was made with."""

    def __init__(self, reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced() if callable(self.reduced) else self.reduced


def raise_(error: BaseException) -> Any:
    """Raise an exception."""
    raise error


class Lies:
    """An object that says that it is of another class."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        return self.kind


class Buffer:
    """An object with a buffer of its own (PEP 688)."""

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(b"of a buffer")


class BadBuffer(bytearray):
    """An object whose buffer cannot be had."""

    def __buffer__(self, flags: int) -> memoryview:
        raise BufferError("no buffer")


class BadState:
    """An object that cannot be rebuilt from its state."""

    def __getstate__(self) -> Any:
        return {"x": 1}

    def __setstate__(self, state: Any) -> None:
        raise ZeroDivisionError("of __setstate__")


class BadHash:
    """A key that loses its hash on the way."""

    def __hash__(self) -> int:
        return hash(self.x)  # type: ignore[attr-defined,no-any-return]


class Hook:
    """An object that asks for another's pickling by attributes that raise."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


def _deep(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def _deep_node(depth: int) -> Node:
    made = Node(None)
    for _ in range(depth):
        made = Node(made)
    return made


def _bad_key() -> Any:
    key = BadHash()
    key.x = 5  # type: ignore[attr-defined]
    return {key: key}


def _released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


# What `__reduce__` may do wrong
REDUCED: list[Any] = [
    lambda: raise_(ValueError("of __reduce__")), lambda: raise_(SystemExit(3)), lambda: raise_(RecursionError("r")),
    lambda: raise_(MemoryError("m")), lambda: raise_(StopIteration("s")), 5, (), (int,), (5, ()), (int, ("x",)),
    (raise_, (ValueError("rebuilt"),)), (raise_, (SystemExit(4),)), (raise_, (GeneratorExit(),)), (int, (), None, 5),
    "no_such_name", lambda: (list, (), None, iter([1, 2])), (bytes, (-1,)), (bytes, (1 << 62,)), (memoryview, (b"x",)),
    (np.ndarray, ((1 << 40, 1 << 40),)), (threading.Lock, ()), (Lies, (np.ndarray,)),
    (Reduces, (5,), {"reduced": (int, ("y",))}),
]  # fmt: skip

HOSTILE: list[Callable[[], Any]] = [
    *(partial(Reduces, reduced) for reduced in REDUCED),
    lambda: Lies(np.ndarray), lambda: Lies(type), lambda: Lies(memoryview), lambda: Lies(BaseException), Buffer,
    lambda: memoryview(Buffer()), lambda: BadBuffer(b"x" * 100000), BadState, _bad_key, Hook, threading.Lock,
    lambda: (k for k in range(3)), lambda: sys.stdout, lambda: iter(np.ones(3)), lambda: _deep(100000),
    lambda: _deep(700), lambda: _deep_node(50000), lambda: _deep_node(100), lambda: pickle.PickleBuffer(b"abc"),
    lambda: pickle.PickleBuffer(np.ones((3, 4))[:, ::2]), lambda: np.ones(3).__array_interface__,
    lambda: np.array([threading.Lock(), None]), lambda: np.array([Reduces(5)], object), _released,
    lambda: memoryview(b"abc").cast("c"), lambda: np.ndarray((3,), "V0"),
    lambda: np.lib.stride_tricks.as_strided(np.ones(3), (1 << 40,), (0,)),
    lambda: np.frombuffer(memoryview(bytearray(64)), "u1")[::-3], lambda: type("Gone", (), {"__module__": "nowhere"}),
    lambda: type("Gone", (), {"__module__": "nowhere"})(), lambda: type("Meta", (type,), {})("Made", (), {})(),
    lambda: (lambda: 0).__code__, lambda: types.MappingProxyType({}), object, lambda: super, sys._getframe,
]  # fmt: skip
