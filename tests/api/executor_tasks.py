"""Tasks of executor_contract.py, in an importable module, as the standard library's interpreters need it."""

import os


def identity(x: object) -> object:
    return x


def fail(x: object) -> None:
    raise LookupError(x)


def keywords(**given: object) -> dict[str, object]:
    return given


def enter(started: int, gate: int) -> str:
    """Report that this task runs, and wait until the gate is opened."""
    os.write(started, b"s")
    return os.read(gate, 1).decode()


def first_fails(k: int, started: int, gate: int) -> str:
    if k == 0:
        raise LookupError(k)
    return enter(started, gate)


def first_returns(k: int, started: int, gate: int) -> int | str:
    return 0 if k == 0 else enter(started, gate)


def mark(k: int, marks: int) -> int:
    os.write(marks, bytes([k % 256]))
    return k


def mark_or_fail(k: int, marks: int) -> int:
    os.write(marks, bytes([k % 256]))
    if k % 2:
        raise LookupError(k)
    return k


def invert(k: int) -> float:
    return 10 / k


def leave(kind: type[BaseException]) -> None:
    raise kind("left")


def stop_iteration(x: object) -> None:
    raise StopIteration(x)
