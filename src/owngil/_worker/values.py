"""Values as a report carries them: as text, or pickled by themselves."""

import pickle
from collections.abc import Callable

from owngil._core import is_importable

__all__ = ["pickled", "text_of"]


def text_of(make: Callable[[], object], instead: str) -> str:
    """Return ``str(make())``, which runs the user's own __str__ and __repr__, or `instead` with the reason."""
    try:
        return str(make())
    except Exception as error:
        return f"{instead} ({type(error).__qualname__})"


def pickled(value: object, kind: type) -> bytes | None:
    """Return `value` pickled, by value if the caller cannot import `kind`, its class; None if it cannot be pickled."""
    try:
        if kind.__module__ != "__main__" and is_importable(kind):  # the caller's __main__ is another module
            return pickle.dumps(value, 5)
    except Exception:
        pass
    try:
        import cloudpickle

        return cloudpickle.dumps(value, 5)  # type: ignore[no-any-return]
    except Exception:
        return None
