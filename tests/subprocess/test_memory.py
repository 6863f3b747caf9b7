"""Out of memory, and memory that is freed, measured in the whole process."""

import pytest

# The beginning of the programs below.
START = """
import gc, resource, sys, time
import numpy as np
import owngil

MB = 1_000_000

def status(field):
    with open("/proc/self/statm") as file:
        return int(file.read().split()[field]) * resource.getpagesize()

def resident():
    return status(1)

def limit(more):
    resource.setrlimit(resource.RLIMIT_AS, (status(0) + more, resource.RLIM_INFINITY))

def unlimited():
    resource.setrlimit(resource.RLIMIT_AS, 2 * (resource.RLIM_INFINITY,))

def wait_until(condition):
    # owngil promises milliseconds, but the machine may be busy.
    deadline = time.monotonic() + 250
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
"""


@pytest.fixture
def program(ends_cleanly):
    def run(source, **options):
        from textwrap import dedent

        return ends_cleanly(START + dedent(source), **options)

    return run


@pytest.mark.parametrize(
    "task",
    [
        "(len, bytes(150 * MB))",
        "(len, {'k': [bytes(150 * MB)]})",
        "(bytes, 150 * MB)",
        "(np.ones, 150 * MB, 'u1')",
        "(lambda: [np.ones(150 * MB, 'u1').tobytes()],)",
        "(lambda: 'x' * (150 * MB),)",
        "(lambda array: array.copy(), np.ones(150 * MB, 'u1').view(type('Sub', (np.ndarray,), {})))",
        "(lambda: owngil.zeros(150 * MB, 'u1'),)",
    ],
)
def test_out_of_memory_is_the_callers_error_and_the_pool_goes_on(program, task):
    """Memory may run out while sending, working, sending back or receiving."""
    out = program(f"""
        with owngil.Pool(2) as pool:
            def usable(k):
                import numpy, owngil
                return owngil.zeros(3).sum() + k

            assert list(pool.map(usable, range(2))) == [0, 1]
            assert len(pool.submit(bytes, MB).result()) == MB
            fn, *args = {task}
            for more in [20 * MB, 100 * MB, 200 * MB, 350 * MB, 500 * MB]:
                limit(more)
                try:
                    pool.submit(fn, *args).result()
                except MemoryError:
                    print("refused")
                else:
                    print("done")
                finally:
                    unlimited()
                gc.collect()
                assert len(pool.submit(bytes, MB).result()) == MB
                assert pool.submit(np.sum, np.ones(MB)).result() == MB
            result = pool.submit(fn, *args).result()
    """)
    assert out.splitlines()[0] == "refused"


def test_a_pool_at_the_very_limit(program):
    """No memory at all is left, so any allocation may fail."""
    program("""
        with owngil.Pool(2) as pool:
            pool.broadcast(abs, -1)  # both workers run: a worker that cannot start breaks the pool
            for more in range(0, 2 * MB, MB // 4):
                limit(more)
                try:
                    assert len(pool.submit(lambda: [(k, str(k)) for k in range(30_000)]).result()) == 30_000
                except MemoryError:
                    pass
                finally:
                    unlimited()
                assert pool.submit(len, [1, 2]).result() == 2
    """)


def test_round_trips_leave_memory_flat(program, rounds):
    program(
        f"""
        with owngil.Pool(2) as pool:
            array = np.ones(10 * MB, np.uint8)
            data = bytes(10 * MB)
            for k in range({rounds(150, 5000)}):
                futures = [pool.submit(np.negative, array[k:]) for _ in range(2)]
                for future in futures:
                    assert future.result()[-1] == 255
                shared = owngil.zeros(10 * MB, np.uint8)
                assert (pool.submit(lambda a, b: (a, b), shared[5:], data).result()[0] == shared[5:]).all()
                if k == 50:
                    before = resident()
            del futures, future, shared
            assert resident() - before < 60 * MB, (before, resident())
        """,
    )


def test_memory_of_failed_tasks_is_freed(program):
    program("""
        def fail(array, data):
            raise ValueError(array[0])

        with owngil.Pool(2) as pool:
            for k in range(40):
                try:
                    pool.submit(fail, np.ones(10 * MB), bytes(10 * MB)).result()
                except ValueError:
                    pass
                if k == 10:
                    before = resident()
            wait_until(lambda: resident() - before < 60 * MB)
    """)


def test_results_are_freed_when_main_drops_them_though_the_worker_is_busy(program):
    program("""
        def hold(begun, go):
            begun.send(None)
            go.recv()

        begun, go = owngil.Channel(), owngil.Channel()
        with owngil.Interpreter() as it:
            it.call(np.ones, 3)
            before = resident()
            results = [it.call(np.ones, 100 * MB, "u1"), it.call(lambda: owngil.full(100 * MB, 1, "u1"))]
            future = it.submit(hold, begun, go)
            begun.recv()
            assert resident() - before > 190 * MB
            assert all(result[-1] == 1 for result in results)
            del results
            assert resident() - before < 20 * MB
            go.send(None)
            future.result()
    """)


def test_arguments_are_freed_when_the_task_is_done_though_the_worker_is_busy_again(program):
    program("""
        import weakref

        def hold(begun, go):
            begun.send(None)
            go.recv()

        class Watched(np.ndarray):
            pass

        begun, go = owngil.Channel(), owngil.Channel()
        array = np.ones(MB).view(Watched)
        reference = weakref.ref(array)
        with owngil.Interpreter() as it:
            first = it.submit(np.sum, memoryview(array))
            second = it.submit(hold, begun, go)
            del array
            begun.recv()
            wait_until(lambda: reference() is None)
            assert first.result() == MB
            go.send(None)
            second.result()
    """)


def test_results_outlive_recycled_and_closed_workers(program):
    program("""
        def make(k):
            return [np.full(1000, k), owngil.full(1000, k), np.full((100, 10), k)[::2], bytes([k]) * 200_000]

        with owngil.Pool(2, max_tasks_per_child=3) as pool:
            results = list(pool.map(make, range(24), chunksize=1))
        for k, (own, shared, part, data) in enumerate(results):
            own += 1
            shared += 1
            assert own.tolist() == shared.tolist() == [k + 1] * 1000
            assert part.tolist() == [[k] * 10] * 50
            assert data == bytes([k]) * 200_000
    """)


@pytest.mark.parametrize("end", ["", "it.close()", "sys.exit()"])
def test_shared_arrays_at_exit(program, end):
    out = program(f"""
        import atexit

        it = owngil.Interpreter()
        array = owngil.zeros(MB)
        it.exec("import owngil; kept = array[3:]; mine = owngil.full(10, 7)", array=array)
        other = it.call(eval, "__import__('__main__').mine")
        channel = owngil.Channel()
        channel.send([array, bytes(MB)])
        atexit.register(lambda: print(int(array.sum()), int(other.sum()), flush=True))
        {end}
    """)
    assert out == "0 70\n"


def test_workers_that_race_stay_memory_safe(program):
    """Workers and main write the same elements without a lock; each element keeps one of the written values."""
    program("""
        def write(array, value):
            for _ in range(200):
                array[:] = value
                array[::3] += value
                part = array[5:]
                del part
            return array[:10]

        array = owngil.zeros(20_000, int)
        with owngil.Pool(3) as pool:
            futures = [pool.submit(write, array, value) for value in (1, 2, 3)]
            while not all(future.done() for future in futures):
                array[::2] = 4
            assert all(np.shares_memory(future.result(), array) for future in futures)
    """)


@pytest.mark.parametrize("make", ["bytearray(MB)", "array.array('b', bytes(MB))", "mmap.mmap(-1, MB)"])
def test_a_lent_array_cannot_be_resized_or_released_until_the_last_view_is_gone(program, make):
    program(f"""
        import array, mmap

        def change(memory):
            try:
                if isinstance(memory, mmap.mmap):
                    memory.close()
                else:
                    memory.extend(b"1")
            except BufferError:
                return False
            return True

        memory = {make}
        with owngil.Interpreter() as it:
            it.exec("kept = view[5:]", view=memoryview(memory))
            assert not change(memory)
            it.exec("del view")
            assert it.call(int) == 0
            assert not change(memory)
            it.exec("del kept")
            wait_until(lambda: change(memory))
    """)
