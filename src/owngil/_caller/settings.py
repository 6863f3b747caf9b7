"""What a worker takes over from the interpreter that starts it."""

import sys
from typing import Any

from owngil._caller import logging, warnings
from owngil._isolation import environment

__all__ = ["keep_contexts", "settings_of_caller"]


def settings_of_caller() -> dict[str, Any]:
    """Return what lets code in a worker behave as here, and report what the caller wants to know."""
    return {
        "path": [entry for entry in sys.path if isinstance(entry, str)],
        "argv": list(sys.argv),
        "environment": environment.variables(),
        "recursion_limit": sys.getrecursionlimit(),
        "int_max_str_digits": sys.get_int_max_str_digits(),
        "dont_write_bytecode": sys.dont_write_bytecode,
        "pycache_prefix": sys.pycache_prefix,
        "lazy_imports": sys.get_lazy_imports() if sys.version_info >= (3, 15) else None,  # type: ignore[attr-defined]
        "level": logging.watch_levels(),
        "filters": warnings.filters_of_worker(),
    }


def keep_contexts() -> bool:
    """Whether it matters in which context a task was submitted."""
    return getattr(sys.flags, "context_aware_warnings", 0) == 1
