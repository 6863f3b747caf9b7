"""How a call is shown in messages: the function's name and its arguments, shortened."""

import reprlib
from typing import Any

__all__ = ["show_call"]

_LONGEST = 300  # of all arguments


class _Repr(reprlib.Repr):
    """Shows what may be large without making its whole text first."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 60

    def repr1(self, x: Any, level: int) -> str:
        shape = getattr(x, "shape", None)
        if type(shape) is tuple and not isinstance(x, type):  # an array, a frame, a tensor
            dtype = getattr(x, "dtype", None)
            return f"<{type(x).__name__} {shape}{'' if dtype is None else f' {dtype}'}>"
        if isinstance(x, bytes | bytearray) and len(x) > self.maxstring:
            return f"{super().repr1(bytes(x[: self.maxstring]), level)[:-1]}... ({len(x)} bytes)"
        return " ".join(super().repr1(x, level).split())


def _one(shortener: _Repr, value: object) -> str:
    try:
        return shortener.repr(value)
    except BaseException:  # whatever its __repr__ does
        return f"<{type(value).__name__}>"


def show_call(name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> str:
    """Return the call as it might stand in a program."""
    shortener = _Repr()
    shown: list[str] = []
    left = _LONGEST
    named = [(f"{key}=", value) for key, value in kwargs.items()]
    for prefix, value in [("", value) for value in args[:50]] + named[:50]:
        if left <= 0:
            shown.append("...")
            break
        text = prefix + _one(shortener, value)
        left -= len(text)
        shown.append(text)
    return f"{name}({', '.join(shown)})"
