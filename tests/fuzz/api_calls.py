"""Random sequences of calls of owngil's API, each answer compared with what a model says.

The steps are those of fuzzing/pool_rules.py (pools and futures) and fuzzing/object_rules.py (interpreters, channels,
locks, shared arrays). After the last step of a sequence,

- every future is resolved, with an outcome that the model allows, and the same whenever it is asked;
- a task that has returned or raised has run once, a cancelled one has not run, and each callback was called once;
- no worker is left, and no more threads and descriptors than before.

A case is some dozen sequences of one seed; `cases.py` has the options. The steps of the last sequence are in build/fuzz
when the process crashes or hangs.
"""

import faulthandler
import gc
import logging
import os
import random
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from fuzzing import cases
from fuzzing.object_rules import ObjectRules
from fuzzing.pool_rules import PoolRules
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

import owngil
from owngil import _core

SEQUENCES = int(os.environ.get("OWNGIL_FUZZ_SEQUENCES", 30))
STEPS = 40
COUNTS: Counter[str] = Counter()
BEFORE: dict[str, int] = {}


def left_over() -> dict[str, int]:
    """Return how many workers, threads and descriptors there are."""
    return {"workers": _core.count_workers(), "threads": len(os.listdir("/proc/self/task")),
            "descriptors": len(os.listdir("/proc/self/fd"))}  # fmt: skip


def wait_until_nothing_is_left() -> None:
    """Wait until there are no more workers, threads and descriptors than before."""
    deadline = time.monotonic() + cases.HANGS_AFTER / 2
    while any(number > BEFORE[what] for what, number in left_over().items()):
        gc.collect()
        names = [Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in os.listdir("/proc/self/task")]
        assert time.monotonic() < deadline, f"there were {BEFORE}, and are {left_over()}, and the threads {names}"
        time.sleep(0.001)


class Calls(PoolRules, ObjectRules, RuleBasedStateMachine):
    """One sequence of calls."""

    def __init__(self) -> None:
        super().__init__()
        faulthandler.dump_traceback_later(cases.HANGS_AFTER, exit=True)
        cases.note(None)
        COUNTS["sequences"] += 1
        self.counts = COUNTS
        self.pools = []
        self.gates = [owngil.Event() for _ in range(3)]
        self.begin_objects()

    def teardown(self) -> None:
        self.end_pools()
        self.end_objects()
        if sys.exception() is None:
            wait_until_nothing_is_left()


def warm_up() -> None:
    """Start the threads that owngil keeps."""
    with owngil.Pool(1) as pool:
        never = owngil.Event()
        future = pool.with_timeout(0.001).submit(never.wait)
        assert isinstance(future.exception(), TimeoutError)
        pool.submit(len, np.ones(5)).result()  # lends memory


def run(rng: random.Random, name: str) -> Counter[str]:
    logging.getLogger("concurrent.futures").addHandler(logging.NullHandler())
    logging.getLogger("concurrent.futures").propagate = False
    warnings.simplefilter("ignore")
    warm_up()
    BEFORE.update(left_over())
    options = settings(max_examples=SEQUENCES, stateful_step_count=STEPS, deadline=None, database=None,
                       phases=[Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
    run_state_machine_as_test(seed(rng.getrandbits(64))(Calls), settings=options)
    return COUNTS


if __name__ == "__main__":
    # A worker imports this file as a module, not as __main__, whose functions would travel by value.
    cases.main(run)
