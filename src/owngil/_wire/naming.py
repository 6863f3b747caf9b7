"""How messages name classes and callables."""

__all__ = ["describe_callable", "type_name"]


def type_name(kind: type) -> str:
    """Return the name of a class, with its module unless it is built in."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def describe_callable(fn: object) -> str:
    """Return a short name of `fn` for messages, such as ``math.sqrt()``."""
    name = getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None)
    if not isinstance(name, str):
        return f"a callable of type {type_name(type(fn))}"
    module = getattr(fn, "__module__", None)
    return f"{module}.{name}()" if module not in (None, "__main__", "builtins") else f"{name}()"
