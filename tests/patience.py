"""The time that a test waits before it reports a deadlock.

No test asserts that something is fast, and a busy machine may take many times as long as an idle one. So a test gives
up only after HANGS_AFTER seconds. Functions that run in workers, and programs, contain the number themselves.
"""

__all__ = ["HANGS_AFTER", "wait_until"]

import time
from collections.abc import Callable

#: Less than pytest's own limit (pyproject.toml), so that a program that hangs shows its stacks first.
HANGS_AFTER = 300


def wait_until(condition: Callable[[], object]) -> None:
    """Poll until the condition is true, for changes that no event announces."""
    deadline = time.monotonic() + HANGS_AFTER
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)
