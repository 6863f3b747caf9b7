"""multiprocessing in workers is one with main's: key, resource tracker, managers and shared memory."""

import multiprocessing
from multiprocessing import shared_memory

import pytest

import owngil


@pytest.fixture
def manager():
    with multiprocessing.get_context("spawn").Manager() as manager:
        yield manager


def test_proxies_of_a_manager(manager, pool):
    shared, queue, lock = manager.dict(), manager.Queue(), manager.Lock()

    def use(shared, queue, lock):
        with lock:
            shared["a"] = shared.get("a", 0) + 1
        queue.put("done")

    pool.broadcast(use, shared, queue, lock)
    assert shared["a"] == 2
    assert [queue.get(timeout=300) for _ in range(2)] == ["done"] * 2


def test_a_worker_connects_to_a_manager_by_its_address(manager):
    def connect(address):
        from multiprocessing.managers import SyncManager

        other = SyncManager(address)
        other.connect()
        return other._number_of_objects()

    assert owngil.Pool(1).submit(connect, manager.address).result() == 0


def test_a_worker_of_a_worker(manager, interpreter):
    shared = manager.dict()

    def use(shared):
        with owngil.Interpreter() as inner:
            inner.call(shared.update, {"b": 1})

    interpreter.call(use, shared)
    assert dict(shared) == {"b": 1}


def test_an_end_of_a_pipe_is_a_descriptor_of_its_own(interpreter):
    here, there = multiprocessing.Pipe()

    def answer(connection):
        with connection:
            connection.send(connection.recv() + 1)

    future = interpreter.submit(answer, there)
    here.send(1)
    assert future.result() is None
    assert here.recv() == 2
    there.send("still open")
    assert here.recv() == "still open"


def test_a_pipes_end_as_a_result(interpreter):
    def make():
        here, there = multiprocessing.Pipe()
        here.send("from the worker")
        make.kept = here
        return there

    with interpreter.call(make) as there:
        assert there.recv() == "from the worker"


def test_keys_are_one_and_processes_have_it(interpreter):
    def keys():
        import subprocess  # noqa: F401
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
            return bytes(multiprocessing.current_process().authkey), executor.submit(key_of_process).result(300)

    assert interpreter.call(keys) == (bytes(multiprocessing.current_process().authkey),) * 2


def key_of_process():
    return bytes(multiprocessing.current_process().authkey)


def test_shared_memory_outlives_the_pool_that_attached_to_it():
    memory = shared_memory.SharedMemory(create=True, size=100)
    try:

        def write(name):
            attached = shared_memory.SharedMemory(name)
            attached.buf[0] = 7
            attached.close()

        with owngil.Pool(1) as pool:
            pool.submit(write, memory.name).result()
        again = shared_memory.SharedMemory(memory.name)
        assert again.buf[0] == 7
        again.close()
    finally:
        memory.close()
        memory.unlink()


SHARED_MEMORY = """
    import owngil
    from multiprocessing import shared_memory

    def make(size):
        from multiprocessing import shared_memory
        memory = shared_memory.SharedMemory(create=True, size=size)
        memory.buf[0] = 5
        memory.close()
        return memory.name

    def attach(name):
        from multiprocessing import shared_memory
        memory = shared_memory.SharedMemory(name)
        found = memory.buf[0]
        memory.close()
        return found

    with owngil.Pool(2) as pool:
        names = pool.broadcast(make, 100)
    with owngil.Pool(2) as pool:
        assert list(pool.map(attach, names, chunksize=1)) == [5, 5]
    for name in names:
        memory = shared_memory.SharedMemory(name)
        assert memory.buf[0] == 5
        memory.close()
        memory.unlink()
    print("done")
"""


def test_shared_memory_of_a_worker_is_mains_to_unlink(ends_cleanly):
    assert ends_cleanly(SHARED_MEMORY) == "done\n"


FORGOTTEN = """
    import owngil
    from multiprocessing import shared_memory

    def forget():
        from multiprocessing import shared_memory
        memory = shared_memory.SharedMemory(create=True, size=100)
        memory.close()
        return memory.name

    with owngil.Pool(1) as pool:
        print(pool.submit(forget).result())
"""


def test_forgotten_shared_memory_is_removed_when_the_program_ends(run_program):
    done = run_program(FORGOTTEN)
    assert done.returncode == 0
    assert "1 leaked shared_memory object" in done.stderr
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(done.stdout.strip())
