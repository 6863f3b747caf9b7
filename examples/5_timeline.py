"""Step 5: see what the workers do, and when.

Then draw it: ``owngil trace timeline.json -o timeline.png``; or open it in https://ui.perfetto.dev.
"""

import owngil


def simulate(seed):
    """Return an estimate of pi, from more random points for some seeds than for others."""
    import numpy as np

    points = np.random.default_rng(seed).random((200_000 * (1 + seed % 4), 2))
    return 4 * float((np.square(points).sum(axis=1) < 1).mean())


def smooth(array):
    """Return running means of 50 values."""
    import numpy as np

    return np.convolve(array, np.full(50, 1 / 50), "valid")


def main():
    """Record two maps and a task that fails."""
    import numpy as np

    with owngil.trace("timeline.json"), owngil.Pool(4, preload=["numpy"]) as pool:
        estimates = list(pool.map(simulate, range(24), chunksize=1))
        curves = list(pool.map(smooth, np.random.default_rng(0).random((160, 50_000)), chunksize=4))
        failed = pool.submit(smooth, "no array").exception()
        print(f"pi is about {np.mean(estimates):.2f}; {len(curves)} curves; {type(failed).__name__}")
        print(pool.stats())


if __name__ == "__main__":
    main()
