"""Signals that arrive just after the main thread's sleep, or just before it, when they do not end the sleep.

Neither the signal nor the awaited result is lost.
"""

from pathlib import Path

import pytest

HEAD = """
import ctypes, signal, threading, time
import owngil

process = ctypes.CDLL(None)
process.first_sleep_length.restype = ctypes.c_double

def wait_for_ever(started):
    started.send(None)
    owngil.Event().wait()

started = owngil.Channel()
pool = owngil.Pool(1)
it = owngil.Interpreter()
pool.submit(abs, -1).result()  # the worker is there
full = owngil.Channel(maxsize=1)
full.send(None)
lock = owngil.Lock()
lock.acquire()
semaphore = owngil.Semaphore(0)
barrier = owngil.Barrier(2)
event = owngil.Event()

def send_when_main_sleeps(channel, *objects):
    # Send during the main thread's next sleep; a signal comes at the sleep's end.
    armed = []

    def send():
        while not armed or process.first_sleep_length() == 0:
            time.sleep(0.001)
        for item in objects:
            channel.send(item)

    threading.Thread(target=send).start()
    process.signal_before_sleep(0, 0)
    process.signal_after_sleep(1)
    armed.append(True)
"""

WAITS = [
    "owngil.Channel().recv()",
    "owngil.Channel().recv(3600)",
    "full.send(None)",
    "lock.acquire()",
    "lock.acquire(timeout=3600)",
    "semaphore.acquire()",
    "barrier.wait()",
    "event.wait()",
    "event.wait(3600)",
    "it.call(wait_for_ever, started)",
    "pool.submit(wait_for_ever, started).result()",
    "pool.submit(wait_for_ever, started).result(3600)",
    "pool.submit(wait_for_ever, started).exception()",
    "pool.with_timeout(3600).submit(wait_for_ever, started).result()",
    "view = pool.with_timeout(3600); view.submit(wait_for_ever, started); view.shutdown()",
    "list(pool.map(wait_for_ever, [started]))",
    "list(pool.map(wait_for_ever, [started], ordered=False))",
    "pool.broadcast(wait_for_ever, started)",
]


@pytest.fixture
def run(run_program, preload):
    preload(Path(__file__).with_name("signal_before_sleep.c"))
    return lambda source, *arguments: run_program(HEAD + source, *arguments)


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_the_wait(run, wait):
    done = run(f"""
for skipped in range(3):
    process.signal_before_sleep(skipped, 1)
    try:
        {wait}
    except KeyboardInterrupt:
        print("interrupted", process.count_unsent())
    print(pool.submit(abs, -2).result(), it.call(abs, -3))
    barrier.reset()
""")
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted 0\n2 3\n" * 3, "", 0)


@pytest.mark.parametrize(
    "end",
    [
        "pool.shutdown()",
        "it.close()",
        "pool.__exit__(None, None, None)",
        "it.__exit__(None, None, None)",
    ],
)
def test_ctrl_c_ends_the_wait_in_shutdown_and_close(run, end):
    done = run(f"""
future = {end.partition(".")[0]}.submit(wait_for_ever, started)
started.recv()
process.signal_before_sleep(0, 1)
try:
    {end}
except KeyboardInterrupt:
    print("interrupted", process.count_unsent(), type(future.exception()).__name__)
""")
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted 0 KeyboardInterrupt\n", "", 0)


@pytest.mark.parametrize("timeout", [None, 3600])
def test_handlers_run_and_the_wait_goes_on(run, timeout):
    done = run(f"""
channel = owngil.Channel()
calls = []

def handle(*_):
    calls.append(len(calls))
    if len(calls) == 5:
        channel.send("sent by the handler")

signal.signal(signal.SIGINT, handle)
process.signal_before_sleep(0, 5)
print(channel.recv({timeout}), calls)
""")
    assert (done.stdout, done.stderr, done.returncode) == ("sent by the handler [0, 1, 2, 3, 4]\n", "", 0)


@pytest.mark.parametrize("wait", ["result", "exception"])
def test_a_handlers_exception_is_raised_though_the_answer_has_come(run, wait):
    done = run(f"""
class Late(Exception):
    pass

def handle(*_):
    raise Late

signal.signal(signal.SIGINT, handle)
gate = owngil.Channel()
future = pool.submit(lambda gate: gate.recv(), gate)
send_when_main_sleeps(gate, "sent")
try:
    future.{wait}()
except Late:
    print("late", future.result(300), future.exception())
print(len(pool._dispatcher._pending), pool.submit(abs, -1).result())
""")
    assert (done.stdout, done.stderr, done.returncode) == ("late sent None\n0 1\n", "", 0)


@pytest.mark.parametrize("timeout", [None, 3600])
def test_a_handlers_exception_leaves_an_arrived_object_in_the_channel(run, timeout):
    done = run(f"""
class Late(Exception):
    pass

def handle(*_):
    raise Late

signal.signal(signal.SIGINT, handle)
channel = owngil.Channel()
send_when_main_sleeps(channel, "first", "second")
try:
    channel.recv({timeout})
except Late:
    print("late", channel.recv(300), channel.recv(300))
""")
    assert (done.stdout, done.stderr, done.returncode) == ("late first second\n", "", 0)


def test_a_waiter_that_checks_for_signals_does_not_miss_a_set_event(run):
    done = run("""
def handle(*_):
    event.set()
    event.clear()

signal.signal(signal.SIGINT, handle)
for timeout in (None, 3600):
    process.signal_before_sleep(0, 1)
    print(event.wait(timeout), event.is_set())
    print(event.wait(0.01))  # the event was set for the previous wait only
""")
    assert (done.stdout, done.stderr, done.returncode) == ("True False\nFalse\n" * 2, "", 0)


@pytest.mark.parametrize(
    "wait",
    [
        "event.wait(1.5)",
        "lock.acquire(timeout=1.5)",
        "semaphore.acquire(timeout=1.5)",
        "future.exception(1.5)",
        "owngil.Channel().recv(1.5)",
        "barrier.wait(1.5)",
    ],
)
def test_each_wait_checks_for_signals_as_soon_as_the_first(run, wait):
    done = run(f"""
def lengths():
    yield process.first_sleep_length()
    process.signal_before_sleep(0, 0)
    event.wait(0.3)
    yield process.first_sleep_length()

def handle(*_):
    print([0 < length <= 0.05 for length in lengths()])  # also within a wait

signal.signal(signal.SIGINT, handle)
future = pool.submit(wait_for_ever, started)
started.recv()
process.signal_before_sleep(2, 1)
try:
    {wait}
except (TimeoutError, threading.BrokenBarrierError):
    pass
process.signal_before_sleep(0, 0)
event.wait(0.3)
print([0 < length <= 0.05 for length in lengths()])
pool.interrupt()
""")
    assert (done.stdout, done.stderr, done.returncode) == ("[True, True]\n" * 2, "", 0)


@pytest.mark.parametrize("queue", ["lock", "channel", "full channel"])
def test_a_waiter_that_checks_for_signals_keeps_its_place_in_the_line(run, queue):
    done = run(f"""
queue = {queue!r}
channel = owngil.Channel(maxsize=1) if queue == "full channel" else owngil.Channel()
if queue == "full channel":
    channel.send(None)
order = owngil.Channel()

def wait(name, lock, channel, order, queue):
    if queue == "lock":
        lock.acquire()
    elif queue == "channel":
        name += str(channel.recv())
    else:
        channel.send(name)
    order.send(name)
    return name

def wait_there(started, *arguments):
    started.send(threading.get_native_id())
    wait(*arguments)

def until_asleep(thread):
    state = None
    while state != "S":
        with open(f"/proc/self/task/{{thread}}/stat") as file:
            state = file.read().rpartition(")")[2].split()[0]

calls = []

def handle(*_):
    calls.append(None)
    if len(calls) == 5:
        process.signal_before_sleep(0, 0)

def until_main_sleeps():
    while process.first_sleep_length() == 0:
        time.sleep(0.001)  # so that the main thread need not wait for its GIL

def queue_up():
    until_main_sleeps()
    for count in (2, 3):
        others[count].submit(wait_there, started, f"other {{count}} ", lock, channel, order, queue)
        until_asleep(started.recv())
    process.signal_before_sleep(0, 5)
    while len(calls) < 5:
        time.sleep(0.001)
    until_main_sleeps()  # back in the line, for a second at least
    if queue == "channel":
        for number in range(3):
            channel.send(number)
    elif queue == "full channel":
        channel.recv()
    else:
        lock.release()

others = {{count: owngil.Interpreter() for count in (2, 3)}}
signal.signal(signal.SIGINT, handle)
process.signal_before_sleep(0, 0)
thread = threading.Thread(target=queue_up)
thread.start()
name = wait("main ", lock, channel, order, queue)
print(name if queue == "channel" else order.recv(), len(calls))
thread.join()
for other in others.values():
    if queue == "lock":
        lock.release()
    elif queue == "full channel":
        channel.recv()
    other.close()
""")
    expected = "main 0 5\n" if queue == "channel" else "main  5\n"
    assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)


def test_a_timeout_is_kept(run):
    done = run("""
import time

before = time.monotonic()
for seconds in (0.001, 0.1):
    try:
        owngil.Channel().recv(seconds)
    except TimeoutError:
        print(time.monotonic() - before >= seconds)
signal.signal(signal.SIGINT, lambda *_: None)
process.signal_before_sleep(0, 3)
try:
    owngil.Channel().recv(0.1)
except TimeoutError:
    print(time.monotonic() - before >= 0.201)
""")
    assert (done.stdout, done.stderr, done.returncode) == ("True\nTrue\nTrue\n", "", 0)
