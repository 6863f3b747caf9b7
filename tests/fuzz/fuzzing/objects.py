"""Random objects, for `wire_objects.py`: containers, buffers, arrays, classes, functions, exceptions."""

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import mmap
import pathlib
import random
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

__all__ = ["arrays", "by_value", "tree"]

DTYPES = ["?", "i1", "u2", "<i4", ">i4", "i8", "u8", "f2", ">f4", "f8", "g", "F", "D", "G", "S5", "U3", ">U2", "V7",
          "M8[ns]", "M8[D]", "m8[us]", "m8", "i4,f8", "O", ">M8[s]", "S0"]  # fmt: skip
STRUCTURED = [np.dtype([("a", "u1"), ("b", "f8", (2, 3))], align=True), np.dtype([("when", "M8[s]"), ("x", "c8")]),
              np.dtype({"names": ["p", "q"], "formats": ["i2", "i4"], "offsets": [2, 8], "itemsize": 24}),
              np.dtype([("o", "O"), ("n", "i8")])]  # fmt: skip


class Text(str):
    """A string with attributes."""


class Number(int):
    """An integer with attributes."""


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: Any
    y: Any = None
    tags: list[Any] = dataclasses.field(default_factory=list, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen one with slots."""

    x: int


class Pair(NamedTuple):
    """A named tuple."""

    first: Any
    second: Any


class Color(enum.Enum):
    """An enum."""

    RED = "red"
    BLUE = (1, 2)


class Mode(enum.Flag):
    """A flag."""

    A = enum.auto()
    B = enum.auto()


class Node:
    """An object that may be part of a cycle."""

    def __init__(self, value: Any) -> None:
        self.value, self.links = value, []  # type: ignore[var-annotated]

    def method(self) -> Any:
        """Return the value."""
        return self.value


class Sub(np.ndarray):
    """An array with an attribute, which pickling keeps as NumPy's own arrays do not."""


class Mistake(Exception):
    """An exception that wants two arguments."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    def __reduce__(self) -> Any:
        return Mistake, (self.code, self.args[0]), vars(self)


def _exception(rng: random.Random) -> BaseException:
    errors = [ValueError("v", 1), KeyError("k"), OSError(2, "no", "file"), Mistake(3, "m"), StopIteration(5),
              UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), ExceptionGroup("g", [ValueError(1)])]  # fmt: skip
    error: BaseException = rng.choice(errors)
    if rng.random() < 0.5:
        error.add_note("a note")
    if rng.random() < 0.5:
        error.__cause__ = LookupError("cause")
    return error


def _text(rng: random.Random) -> str:
    alphabet = rng.choice(["abc", "äöü", "\0\n", "\udc80\ud800", "😀x", "日本"])
    return "".join(rng.choice(alphabet) for _ in range(rng.choice([0, 1, 5, 100, 70000 if rng.random() < 0.05 else 3])))


def _float(rng: random.Random) -> float:
    return rng.choice([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324, 1.7e308, rng.random()])


def _bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([0, 1, 7, 300, rng.choice([4096, 65536, 1 << 20]) if rng.random() < 0.1 else 2]))


def _memoryview(rng: random.Random) -> memoryview:
    data = rng.randbytes(24)
    view = memoryview(bytearray(data) if rng.random() < 0.5 else data)
    other = view.cast(rng.choice(["i", "d"]))
    return rng.choice([view, view[::2], view[3:3], other, view.cast("B", [2, 3, 4]), view[::-1]])


def _mmap(rng: random.Random) -> Any:
    mapped = mmap.mmap(-1, 4096)
    mapped[:5] = b"hello"
    return memoryview(mapped)[: rng.choice([0, 5, 4096])]


LEAVES: list[Callable[[random.Random], Any]] = [
    lambda rng: None, lambda rng: rng.random() < 0.5, lambda rng: ..., lambda rng: NotImplemented,
    lambda rng: rng.randrange(-(1 << 70), 1 << 70), lambda rng: rng.randrange(-300, 300),
    lambda rng: rng.choice([-1, 1]) << rng.choice([31, 32, 63, 64, 2048, 70000]),
    _float, lambda rng: complex(_float(rng), _float(rng)), _text, _bytes, lambda rng: bytearray(_bytes(rng)),
    _memoryview, _mmap, lambda rng: array.array(rng.choice("bBhHiIlLqQfd"), [rng.randrange(100) for _ in range(9)]),
    lambda rng: array.array("d", bytes(8 * rng.choice([0, 20000]))), _exception,
    lambda rng: Text(_text(rng)), lambda rng: Number(7), lambda rng: Frozen(3), lambda rng: rng.choice(list(Color)),
    lambda rng: rng.choice([Mode.A, Mode.A | Mode.B, Mode(0)]), lambda rng: range(rng.randrange(5), 1 << 40, 3),
    lambda rng: slice(1, None, 2), lambda rng: datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.UTC),
    lambda rng: decimal.Decimal("1.50"), lambda rng: fractions.Fraction(1, 3), lambda rng: uuid.UUID(int=5),
    lambda rng: re.compile(r"a+(b)", re.I), lambda rng: pathlib.PurePosixPath("/a/b"), lambda rng: len,
    lambda rng: int, lambda rng: Node, lambda rng: "abc".upper, lambda rng: np, lambda rng: np.float32(1.5),
    lambda rng: np.int64(-3), lambda rng: np.str_("x"), lambda rng: np.datetime64("2026-01-02"),
    lambda rng: np.dtype(rng.choice(DTYPES)), lambda rng: np.random.default_rng(5), lambda rng: np.ma.masked,
    lambda rng: dict, lambda rng: list[int], lambda rng: int | None,
]  # fmt: skip


def arrays(rng: random.Random) -> Any:
    """Return an array: of any type, layout and class."""
    dtype = np.dtype(rng.choice([*DTYPES, *STRUCTURED]))
    shape = tuple(rng.choice([0, 1, 2, 3, 5]) for _ in range(rng.choice([0, 1, 1, 2, 3, 4])))
    if rng.random() < 0.05:
        shape = (rng.choice([1000, 70000]),)
    size = int(np.prod(shape, dtype=int))
    if dtype.hasobject:
        result = np.zeros(shape, dtype)
        if dtype.names is None and size:
            result.flat[0] = [1, "x"]
    else:
        length = size * dtype.itemsize
        data = bytearray(rng.randbytes(length) if dtype.kind != "U" else length)
        result = np.ndarray(shape, dtype, data, order=rng.choice("CF")) if dtype.itemsize else np.zeros(shape, dtype)
    for _ in range(rng.choice([0, 0, 1, 2])):
        match rng.randrange(7):
            case 0:
                result = result.T
            case 1 if result.ndim:
                result = result[:: rng.choice([-1, 2, -2, 3])]
            case 2:
                result = result[..., None]
            case 3:
                result = np.broadcast_to(result, (2, *result.shape))
            case 4 if result.ndim and result.shape[-1]:
                result = result[..., : rng.randrange(result.shape[-1] + 1)]
            case 5 if result.dtype.names:
                result = result[result.dtype.names[0]]
            case 6:
                result = result.copy(order=rng.choice("CFAK"))
    match rng.randrange(12):
        case 0:
            result = result.view()
            result.flags.writeable = False
        case 1:
            result = result.view(Sub)
        case 2 if not result.dtype.hasobject:
            result = np.ma.MaskedArray(result, mask=rng.random() < 0.5)
        case 3 if result.dtype.names:
            result = result.view(np.recarray)
        case 4 if result.ndim == 2:
            result = result.view(np.matrix)
    return result


def leaf(rng: random.Random) -> Any:
    """Return an object without others in it."""
    return arrays(rng) if rng.random() < 0.3 else rng.choice(LEAVES)(rng)


def _hashable(rng: random.Random) -> Any:
    return rng.choice([_text(rng), rng.randrange(1 << 40), None, (1, "x"), Color.RED, 1.5, b"k", frozenset({3})])


def tree(rng: random.Random, depth: int, known: list[Any]) -> Any:
    """Return an object that may contain others, those that are `known` too: so references are shared, and go round."""
    if known and rng.random() < 0.15:
        return rng.choice(known)
    if depth <= 0 or rng.random() < 0.25:
        made = leaf(rng)
        known.append(made)
        return made
    size = rng.choice([0, 1, 2, 3, 3, 30 if rng.random() < 0.1 else 4])

    def parts() -> Iterator[Any]:
        return (tree(rng, depth - 1, known) for _ in range(size))

    kind = rng.randrange(14)
    if kind <= 3:
        made = rng.choice([list, collections.deque])()
        known.append(made)
        made.extend(parts())
    elif kind <= 6:
        made = rng.choice([dict, collections.OrderedDict, lambda: collections.defaultdict(list)])()
        known.append(made)
        made.update((_hashable(rng), part) for part in parts())
    elif kind == 7:
        made = tuple(parts())
    elif kind == 8:
        made = rng.choice([set, frozenset])(_hashable(rng) for _ in range(size))
    elif kind == 9:
        made = Node(None)
        known.append(made)
        made.value = tree(rng, depth - 1, known)
        made.links.extend(parts())
    elif kind == 10:
        made = Point(tree(rng, depth - 1, known), tags=list(parts()))
    elif kind == 11:
        made = Pair(tree(rng, depth - 1, known), tree(rng, depth - 1, known))
    elif kind == 12:
        made = Text("with attributes")
        known.append(made)
        made.__dict__.update({f"k{k}": part for k, part in enumerate(parts())})
    else:
        made = np.empty(size, object)
        known.append(made)
        for k, part in enumerate(parts()):
            made[k] = part
    known.append(made)
    return made


# Functions by value: (the function, its arguments, what it returns)


def by_value(rng: random.Random) -> tuple[Callable[..., Any], tuple[Any, ...], Any]:
    """Return a function that cannot be imported, arguments, and what it returns of them."""
    base, count = rng.randrange(100), 0

    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial(n - 1)

    def is_even(n: int) -> bool:
        return n == 0 or is_odd(n - 1)

    def is_odd(n: int) -> bool:
        return n != 0 and is_even(n - 1)

    def counter() -> list[int]:
        nonlocal count
        count += 1
        return [count, base]

    def defaults(a: Any, /, b: int = base, *c: int, d: Any = (base,), **e: int) -> Any:
        return a, b, c, d, e

    def generates(n: int) -> list[int]:
        def inner() -> Iterator[int]:
            yield from range(n)

        return list(inner())

    class Local:
        kind = base

        def __init__(self, x: Any) -> None:
            self.x = x

        def __eq__(self, other: object) -> bool:
            return type(other).__name__ == "Local" and vars(self) == vars(other)

        def get(self) -> Any:
            return self.x, self.kind, super().__repr__()[:1]

        @property
        def twice(self) -> Any:
            return self.x * 2

        @classmethod
        def make(cls, x: Any) -> Any:
            return cls(x).get()

        @staticmethod
        def still() -> int:
            return base

    class Derived(Local):
        def get(self) -> Any:
            return "derived", *super().get()

    return rng.choice([
        (lambda x: x + base, (1,), base + 1), (factorial, (10,), 3628800), (is_even, (7,), False),
        (counter, (), [1, base]), (defaults, (1,), (1, base, (), (base,), {})), (generates, (4,), [0, 1, 2, 3]),
        (Local(5).get, (), (5, base, "<")), (Derived(5).get, (), ("derived", 5, base, "<")),
        (Local.make, (3,), (3, base, "<")), (Derived.make, (3,), ("derived", 3, base, "<")), (Local.still, (), base),
        (lambda thing: thing.twice, (Derived("ab"),), "abab"), (Node(base).method, (), base),
        (lambda: (lambda: base)(), (), base), (lambda kind: kind(2).get(), (Local,), (2, base, "<")),
    ])  # fmt: skip
