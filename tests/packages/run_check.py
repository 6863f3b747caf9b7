"""Runs one package's check in 4 workers and the main interpreter, all at once, and compares: exit code 0 if all agree.

    python run_check.py NAME

A process of its own for each package: a crash is then a failed test, and no package sees what another loaded.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from checks import CHECKS

import owngil

WORKERS = 4


def main(name: str) -> None:
    check = CHECKS[name]
    workers = [owngil.Interpreter() for _ in range(WORKERS)]
    futures = [worker.submit(check) for worker in workers]
    expected = check()
    for future in futures:
        np.testing.assert_equal(future.result(), expected)
    # Once more, with everything loaded and workers out of step.
    futures = [worker.submit(check) for worker in workers[::2]]
    for worker in workers[1::2]:
        worker.close()
    for future in futures:
        np.testing.assert_equal(future.result(), expected)
    for worker in workers[::2]:
        worker.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        main(sys.argv[1])
