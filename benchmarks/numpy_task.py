"""The function that the workers of imports.py run, in a module that imports nothing else."""

import time


def import_numpy(_=None):
    """Import NumPy and return how many seconds that took."""
    start = time.perf_counter()
    import numpy

    assert numpy.ones(3).sum() == 3
    return time.perf_counter() - start
