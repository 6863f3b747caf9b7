"""How objects travel between interpreters, and what the messages are that carry them."""

from owngil._wire.message import (
    Failure,
    Parts,
    Saved,
    SavedCall,
    copy_arguments,
    dumps,
    dumps_call,
    dumps_result,
    loads,
    loads_call,
)
from owngil._wire.naming import describe_callable, type_name

__all__ = [
    "Failure",
    "Parts",
    "Saved",
    "SavedCall",
    "copy_arguments",
    "describe_callable",
    "dumps",
    "dumps_call",
    "dumps_result",
    "loads",
    "loads_call",
    "type_name",
]
