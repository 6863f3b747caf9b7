"""How exceptions travel: by their state. Their class is not called, because its ``__init__`` may take other arguments.

pickle's own way is to call the class with `args`. That fails, or gives another exception, if ``__init__`` takes others
than it passes on. A class that says itself how its exceptions are pickled is obeyed.
"""

import copyreg
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from owngil._wire.interrupts import is_interrupt

__all__ = ["reduce_exception"]

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: of classes that are no static ones of C


def _built_in_base(kind: type[BaseException]) -> type[BaseException]:
    """Return the class that makes the objects of the class and has their memory's layout."""
    base: Any = kind
    while base.__flags__ & _HEAP_TYPE:
        base = base.__base__
    return base  # type: ignore[no-any-return]


def _is_own(kind: type[BaseException], name: str) -> bool:
    """Return whether a class of a user has the method, and not one of Python's."""
    owner = next(base for base in kind.__mro__ if name in vars(base))
    return bool(owner.__flags__ & _HEAP_TYPE) or owner.__module__ != "builtins"


def reduce_exception(error: BaseException) -> Any:
    """Return how to pickle an exception, or NotImplemented if its class says that itself."""
    kind = type(error)
    if kind in copyreg.dispatch_table or _is_own(kind, "__reduce__") or _is_own(kind, "__reduce_ex__"):
        return NotImplemented
    reduced: Any = error.__reduce_ex__(5)
    _, args, *rest = reduced
    attributes = rest[0] if rest else None
    slots = object.__getstate__(error)
    slots = slots[1] if type(slots) is tuple else None
    # Whatever may refer to the exception itself is its state, which follows when the exception is made. But these two
    # take over their arguments when they are made, and only then.
    first: tuple[Any, ...] = ()
    if isinstance(error, BaseExceptionGroup):
        first = error.message, error.exceptions
    elif isinstance(error, OSError):
        first = args
    return _make, (kind, first), (args, attributes, slots), None, None, _restore


def _make(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    return _built_in_base(kind).__new__(kind, *args)


def _restore(error: BaseException, state: tuple[tuple[Any, ...], dict[str, Any] | None, dict[str, Any] | None]) -> None:
    """Set what the exception had, past its class's own ``__init__`` and ``__setattr__``."""
    args, attributes, slots = state
    built_in = [base for base in type(error).__mro__ if not base.__flags__ & _HEAP_TYPE]
    init = next(vars(base)["__init__"] for base in built_in if "__init__" in vars(base))
    try:
        init(error, *args)  # sets the fields of C, such as `code` of a SystemExit
    except Exception as problem:  # a user may have changed `args`
        if is_interrupt(problem):
            raise
    if not isinstance(error, OSError):  # which has set its own
        BaseException.args.__set__(error, args)  # type: ignore[attr-defined]
    if attributes is not None and _is_own(type(error), "__setstate__"):
        error.__setstate__(attributes)
    else:
        for name, value in (attributes or {}).items():
            field = getattr(built_in[0], name, None)
            if type(field) is MemberDescriptorType or type(field) is GetSetDescriptorType:
                field.__set__(error, value)
            else:
                error.__dict__[name] = value
    for name, value in (slots or {}).items():
        object.__setattr__(error, name, value)
