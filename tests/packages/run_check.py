"""Run one package's check in 4 workers and the main interpreter, all at once. The exit code is 0 if the results agree.

    python run_check.py NAME

Each package has a process of its own, so that a crash is a failed test, and no package finds another's modules loaded.
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
    # Run the check again with everything loaded and the workers out of step.
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
