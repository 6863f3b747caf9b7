"""Without threads: interrupts come later, by one helper thread, and arrays are lent later."""

from pathlib import Path

import pytest

HEAD = """
import ctypes, os, sys, threading, time
import owngil

process = ctypes.CDLL(None)

def spin(started):
    started.send(None)
    while True:
        pass

def read(started, fd):
    started.send(None)
    return os.read(fd, 1)

def read_with_the_gil(started, fd):
    started.send(None)
    ctypes.PyDLL(None).read(fd, ctypes.create_string_buffer(1), 1)
    while True:
        pass

started = owngil.Channel()
pool = owngil.Pool(1, thread_name_prefix="worker")
pool.__enter__()
try:
    pool.with_timeout(0.01).submit(time.sleep, 0.05).result()
except TimeoutError:
    pass  # now the thread that waits for limits exists
"""


@pytest.fixture
def run(run_program, preload):
    preload(Path(__file__).with_name("no_threads.c"))

    def run(source, *arguments):
        return run_program(HEAD + source + "\npool.__exit__(None, None, None)\n", *arguments)

    return run


def test_a_limit_is_kept_as_soon_as_there_is_a_thread(run):
    done = run("""
process.refuse_threads(5)
future = pool.with_timeout(0.05).submit(spin, started)
print(type(future.exception()).__name__, process.count_refused())
print(pool.submit(abs, -1).result())
""")
    assert (done.stdout, done.stderr, done.returncode) == ("TimeoutError 5\n1\n", "", 0)


def test_ctrl_c_interrupts_a_task_as_soon_as_there_is_a_thread(run):
    done = run("""
future = pool.submit(spin, started)
started.recv()
process.refuse_threads(5)
future.stop()
print(type(future.exception()).__name__, process.count_refused())
print(pool.submit(abs, -1).result())
""")
    assert (done.stdout, done.stderr, done.returncode) == ("KeyboardInterrupt 5\n1\n", "", 0)


def test_a_call_that_ends_meanwhile_is_late_and_no_other_is_interrupted(run):
    done = run("""
process.refuse_threads(1000)
future = pool.with_timeout(0.05).submit(time.sleep, 1)
print(type(future.exception()).__name__)
assert 0 < process.count_refused() < 1000
process.refuse_threads(0)
for seconds in (0.05, 0.1):
    print(pool.submit(time.sleep, seconds).result(), pool.with_timeout(60).submit(time.sleep, seconds).result())
""")
    assert (done.stdout, done.stderr, done.returncode) == ("TimeoutError\nNone None\nNone None\n", "", 0)


def test_a_stuck_task_is_reported_as_soon_as_there_is_a_thread(run):
    done = run("""
said = threading.Event()
say, owngil._tasks.owner.say = owngil._tasks.owner.say, lambda text: (say(text), said.set())
receiver, sender = os.pipe()
future = pool.submit(read, started, receiver)
started.recv()
before = process.count_started()
future.stop()
while process.count_started() == before:
    time.sleep(0.001)
time.sleep(0.5)  # the thread has delivered the interrupt; the check comes after GRACE
process.refuse_threads(5)
said.wait()
os.write(sender, b"1")
print(type(future.exception()).__name__, process.count_refused())
""")
    assert (done.stdout, done.returncode) == ("KeyboardInterrupt 5\n", 0)
    assert done.stderr.count("owngil: worker 'worker-0' is still running 2.5 s after its task was interrupted.") == 1
    assert "return os.read(fd, 1)" in done.stderr


def test_an_interrupt_of_the_pool_arrives_as_soon_as_there_is_a_thread(run):
    done = run("""
future = pool.submit(spin, started)
started.recv()
process.refuse_threads(5)
pool.interrupt()
print(type(future.exception()).__name__, process.count_refused())
time.sleep(0.2)
print(pool.submit(abs, -1).result())
""")
    assert (done.stdout, done.stderr, done.returncode) == ("KeyboardInterrupt 5\n1\n", "", 0)


@pytest.mark.parametrize("way", ["pool.interrupt()", "future.stop()", "other.interrupt()"])
def test_an_interrupt_for_which_there_is_never_a_thread_is_an_error(run_program, preload, way):
    preload(Path(__file__).with_name("no_threads.c"))
    done = run_program(f"""
import ctypes, os, threading, time
import owngil

process = ctypes.CDLL(None)
started, gate = owngil.Channel(), owngil.Channel()

def work():
    started.send(None)
    return gate.recv()

with owngil.Pool(2) as pool, owngil.Interpreter() as other:
    future, further = pool.submit(work), other.submit(work)
    started.recv()
    started.recv()
    process.refuse_threads(1000)
    try:
        {way}
    except RuntimeError as error:
        print("no thread can be started" in str(error))
    process.refuse_threads(0)
    gate.send(1)
    gate.send(2)
    print(sorted([future.result(), further.result()]), pool.submit(abs, -1).result(), other.call(abs, -1))
""")
    assert (done.stdout, done.stderr, done.returncode) == ("True\n[1, 2] 1 1\n", "", 0)


def test_ctrl_c_is_no_other_error_if_there_is_no_thread(run_program, preload):
    preload(Path(__file__).with_name("no_threads.c"))
    done = run_program("""
import ctypes, os, signal, threading, time
import owngil

process = ctypes.CDLL(None)
started, gate = owngil.Channel(), owngil.Channel()

def work():
    started.send(None)
    return gate.recv()

pool = owngil.Pool(1)
future = pool.submit(work)
started.recv()
threading.Timer(0.3, lambda: (process.refuse_threads(1000), os.kill(os.getpid(), signal.SIGINT))).start()
try:
    future.result()
except KeyboardInterrupt as error:
    print("no thread can be started" in error.__notes__[0])
process.refuse_threads(0)
gate.send(1)
print(future.result())
pool.shutdown()
""")
    assert (done.stdout, done.stderr, done.returncode) == ("True\n1\n", "", 0)


def test_interrupts_that_cannot_arrive_take_one_thread(run):
    done = run("""
receiver, sender = os.pipe()
future = pool.submit(read_with_the_gil, started, receiver)
started.recv()
before = process.count_started()
for _ in range(1000):
    pool.interrupt()
print(process.count_started() - before)
os.write(sender, b"1")
print(type(future.exception()).__name__)
future = pool.submit(spin, started)  # the earlier interrupts were not meant for it
started.recv()
time.sleep(0.1)
print(future.done())
pool.interrupt()
print(type(future.exception()).__name__)
""")
    # More than one thread if the first interrupt came before the function had begun.
    threads, *rest = done.stdout.splitlines()
    assert int(threads) <= 10
    assert (rest, done.stderr, done.returncode) == (["KeyboardInterrupt", "False", "KeyboardInterrupt"], "", 0)


def test_every_interrupt_that_comes_after_the_last_has_arrived_arrives(run, rounds):
    done = run(
        """
def count(started, noticed):
    while True:
        try:
            started.send(None)
            while True:
                pass
        except KeyboardInterrupt:
            noticed.send(None)

noticed = owngil.Channel()
future = pool.submit(count, started, noticed)
for _ in range(int(sys.argv[1])):
    started.recv()
    pool.interrupt()
    noticed.recv(300)
started.recv()
print(len(noticed), flush=True)
os._exit(0)
""",
        str(rounds(200, 20_000)),
    )
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)


def test_an_array_is_lent_as_soon_as_there_is_a_thread(run):
    done = run("""
process.refuse_threads(1)
for _ in range(2):
    try:
        print(pool.submit(len, memoryview(bytes(1000))).result())
    except BlockingIOError as error:
        print(error.strerror)
""")
    assert done.stdout == "no thread can be started, and owngil needs one to lend arrays\n1000\n"
    assert (done.stderr, done.returncode) == ("", 0)
