"""Views of another interpreter's memory at the end of a worker, a pool or the process: no crash, nothing lost."""

import pytest


@pytest.mark.parametrize("end", ["", "it.close()", "sys.exit()", "del it; gc.collect()"])
def test_views_that_are_alive_at_exit(ends_cleanly, end):
    out = ends_cleanly(f"""
        import atexit, gc, sys
        import numpy as np
        import owngil

        class Last:
            def __init__(self, array):
                self.array = array

            def __del__(self):
                print("last", int(self.array[-1]), flush=True)

        it = owngil.Interpreter()
        result = Last(it.call(np.arange, 100_000))
        argument = np.ones(1_000_000)
        it.exec("kept = argument", argument=argument)
        channel = owngil.Channel()
        channel.send(np.ones(1000))
        sys.modules["kept"] = [result, argument]
        atexit.register(lambda: print("exit", int(result.array[-1]), flush=True))
        {end}
    """)
    assert out.splitlines() == ["exit 99999", "last 99999"]


def test_a_worker_that_is_kept_at_exit_may_still_read(ends_cleanly):
    ends_cleanly("""
        import threading
        import numpy as np
        import owngil

        def read_for_ever(array):
            import threading, time

            def loop():
                while True:
                    try:
                        while True:
                            array.sum()
                            time.sleep(0.001)
                    except BaseException:
                        pass

            threading.Thread(target=loop, daemon=True).start()

        it = owngil.Interpreter()
        it.call(read_for_ever, np.ones(1_000_000))
        it.close()
    """)


def test_threads_that_send_and_receive_while_the_process_exits(ends_cleanly):
    ends_cleanly("""
        import threading
        import numpy as np
        import owngil

        pool = owngil.Pool(2)
        begun = threading.Semaphore(0)

        def send():
            array = np.ones(100_000)
            try:
                while True:
                    pool.submit(np.negative, array).result()
                    begun.release()
            except RuntimeError:
                pass  # the pool has been shut down

        for _ in range(3):
            threading.Thread(target=send, daemon=True).start()
        for _ in range(30):
            begun.acquire()
    """)


def test_an_array_that_is_too_large_leaves_the_worker_usable(ends_cleanly):
    ends_cleanly("""
        import numpy as np
        import owngil

        with owngil.Interpreter() as it:
            try:
                it.call(np.ones, 1 << 50, np.uint8)
            except MemoryError:
                pass
            else:
                raise AssertionError
            assert it.call(np.ones, 1000).sum() == 1000
    """)


def test_many_threads_and_workers_hand_arrays_around(ends_cleanly, rounds):
    ends_cleanly(
        """
        import sys, threading
        import numpy as np
        import owngil

        def turn(array, k):
            return [array[::-1], array[k:], array + k, k]

        failures = []

        def work(pool, seed):
            rng = np.random.default_rng(seed)
            kept = []
            try:
                for k in range(int(sys.argv[1])):
                    array = np.full(int(rng.integers(1, 50_000)) + k, seed, np.int64)
                    back, part, more, number = pool.submit(turn, array, k).result()
                    assert (back == seed).all() and (part == seed).all() and (more == seed + number).all()
                    kept = [back, more] if k % 3 else [*kept, part]
                    again = pool.submit(turn, more, 1).result()[2]  # a worker's array goes back to a worker
                    assert (again == seed + k + 1).all()
            except BaseException as error:
                failures.append(error)
                raise

        with owngil.Pool(3, max_tasks_per_child=25) as pool:
            threads = [threading.Thread(target=work, args=(pool, seed)) for seed in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert not failures, failures
        """,
        str(rounds(30, 1000)),
    )
