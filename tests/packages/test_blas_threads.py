"""The number of BLAS threads while workers live."""

import pytest

from owngil._isolation.cores import usable_cores

pytestmark = pytest.mark.skipif(usable_cores() < 2, reason="one core: nothing to share")

PRELUDE = """
import os
import owngil

def blas_threads():
    import numpy
    import threadpoolctl
    libraries = threadpoolctl.threadpool_info()
    return [library["num_threads"] for library in libraries if library["internal_api"] == "openblas"]

cores = len(os.sched_getaffinity(0))
"""


@pytest.fixture
def runs(ends_cleanly, monkeypatch):
    for name in ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)

    def run(source, **options):
        import textwrap

        return ends_cleanly(textwrap.dedent(PRELUDE) + textwrap.dedent(source), **options)

    return run


def test_workers_share_the_cores_and_main_gets_them_back(runs):
    runs("""
        assert blas_threads() == [cores]
        for size in (cores, 1, cores):
            with owngil.Pool(size) as pool:
                assert pool.broadcast(blas_threads) == [[cores // size]] * size
                assert blas_threads() == [cores // size]
            assert blas_threads() == [cores]
    """)


def test_the_environment_wins(runs, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    runs("""
        with owngil.Pool(2) as pool:
            assert pool.broadcast(blas_threads) == [[2]] * 2
        assert blas_threads() == [2]
    """)


def test_a_later_setting_wins(runs):
    runs("""
        import threadpoolctl

        def own_setting():
            import numpy, threadpoolctl
            with threadpoolctl.threadpool_limits(3):
                return blas_threads()

        def from_a_thread():
            from concurrent.futures import ThreadPoolExecutor
            with ThreadPoolExecutor(1) as threads:
                return threads.submit(own_setting).result()

        with owngil.Pool(cores) as pool:
            assert pool.broadcast(blas_threads) == [[1]] * cores
            assert pool.submit(own_setting).result() == [3]
            assert pool.submit(from_a_thread).result() == [3]
            assert own_setting() == [3]
            assert blas_threads() == [1]
            threadpoolctl.threadpool_limits(5)
        assert blas_threads() == [5]
    """)


def test_the_main_thread_may_set_the_number_when_workers_have_ended(runs):
    """threadpoolctl lets only one thread at a time set it, and the thread that collects answers kept that right."""
    runs("""
        import threadpoolctl, time

        with owngil.Pool(cores, max_tasks_per_child=1) as pool:
            pool.broadcast(blas_threads)
            while blas_threads() != [cores]:
                time.sleep(0.001)  # the workers end
            was_set = False
            while not was_set:  # the collector gives up its right a moment after it has set the number
                with threadpoolctl.threadpool_limits(3):
                    was_set = blas_threads() == [3]
    """)


@pytest.mark.slow
def test_many_workers_call_threaded_blas_at_once(runs, monkeypatch, rounds):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    runs(
        f"""
        many = {rounds(24, 64)}

        def multiply(barrier, k):
            import numpy as np

            a = np.random.default_rng(k).standard_normal((200, 200))
            barrier.wait()
            for _ in range(3):
                product = a @ np.linalg.inv(a)
            return float(abs(product - np.eye(200)).max())

        barrier = owngil.Barrier(many)
        with owngil.Pool(many) as pool:
            futures = [pool.submit(multiply, barrier, k) for k in range(many)]
            assert max(future.result() for future in futures) < 1e-6
            assert pool.submit(blas_threads).result() == [2]
        """,
    )
