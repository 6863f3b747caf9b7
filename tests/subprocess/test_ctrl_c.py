"""Ctrl-C in a real terminal: waits end at once, workers are interrupted, the process ends promptly or goes on."""

import contextlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from terminal import LONG, Terminal

HEAD = """
import sys, time, threading, signal, atexit
if sys.argv[1:]:
    atexit.register(print, sys.argv[1])
import faulthandler; faulthandler.dump_traceback_later(290, exit=True)
import owngil

def spin(started):
    started.send(None)
    try:
        while True:
            pass
    except KeyboardInterrupt:
        ended.send("interrupted")
        raise

def spin_item(item):
    spin(item)

def read_for_ever(started):
    import os
    receiver, sender = os.pipe()
    started.send(None)
    return os.read(receiver, 1)

started = owngil.Channel()
ended = owngil.Channel()

def ready_at_exit():
    # As above, but the program waits for the workers at its end.
    started.recv()
    join = owngil._tasks.dispatcher.Dispatcher.join
    def joins(dispatcher):
        print("ready", flush=True)
        join(dispatcher)
    owngil._tasks.dispatcher.Dispatcher.join = joins

def ready():
    # Ctrl-C is meant for the wait: the main thread must be waiting, or about to wait.
    def tell():
        started.recv()
        print("ready", flush=True)
    threading.Thread(target=tell, daemon=True).start()
"""


@pytest.fixture
def start(tmp_path):
    """Start source text as a program in a terminal; HEAD is prepended."""
    running = []

    def begin(source, *arguments):
        path = tmp_path / "program.py"
        path.write_text(HEAD + textwrap.dedent(source))
        terminal = Terminal(sys.executable, str(path), *arguments, cwd=tmp_path)
        running.append(terminal)
        return terminal

    yield begin
    for terminal in running:
        terminal.__exit__()


def _press(terminal):
    terminal.wait_for("ready")
    time.sleep(0.1)  # until the main thread waits; an earlier Ctrl-C would interrupt it too
    terminal.press_ctrl_c()


WAITS = {
    "result": "pool.submit(spin, started).result()",
    "result with a timeout": "pool.submit(spin, started).result(1000)",
    "exception": "pool.submit(spin, started).exception()",
    "map": "list(pool.map(spin_item, [started]))",
    "map of many": "list(pool.map(spin_item, [started] * 5, chunksize=1))",
    "unordered map": "list(pool.map(spin_item, [started], ordered=False))",
    "map of a generator": "list(pool.map(spin_item, (started for _ in range(1))))",
    "limited": "pool.with_timeout(1000).submit(spin, started).result()",
    "wait": "import concurrent.futures; concurrent.futures.wait([pool.submit(spin, started)])",
    "as_completed": "import concurrent.futures; list(concurrent.futures.as_completed([pool.submit(spin, started)]))",
    "channel": "pool.submit(spin, started); owngil.Channel().recv()",
    "lock": "pool.submit(spin, started); lock = owngil.Lock(); lock.acquire(); lock.acquire()",
    "semaphore": "pool.submit(spin, started); owngil.Semaphore(0).acquire()",
    "event": "pool.submit(spin, started); owngil.Event().wait()",
    "barrier": "pool.submit(spin, started); owngil.Barrier(2).wait()",
    "end of the block": "pool.submit(spin, started)",
    "shutdown": "pool.submit(spin, started); pool.shutdown()",
    "broadcast": "pool.broadcast(spin, started)",
    "asyncio": ("import asyncio; asyncio.run(asyncio.wait_for(asyncio.wrap_future(pool.submit(spin, started)), 1000))"),
}


@pytest.mark.parametrize("wait", WAITS)
def test_a_block_is_left_at_once_and_no_task_goes_on(start, wait):
    terminal = start(f"""
        ready()
        try:
            with owngil.Pool(2) as pool:
                {WAITS[wait]}
        except KeyboardInterrupt:
            print("left", ended.recv(300))
        print(owngil.run(abs, -5))
    """)
    _press(terminal)
    assert terminal.wait() == 0, terminal.output
    assert terminal.output.endswith("left interrupted\n5\n"), terminal.output


LOOPS = {
    "in a block": "with owngil.Pool(1) as pool: pool.submit(run_loop).result()",
    "at its end": "with owngil.Pool(1) as pool: pool.submit(run_loop)",
    "without a block": "pool = owngil.Pool(1); pool.submit(run_loop).result()",
    "not awaited": "pool = owngil.Pool(1); pool.submit(run_loop); time.sleep(1000)",
}


@pytest.mark.parametrize("use", LOOPS)
def test_an_event_loop_is_ended_once(start, use):
    """One Ctrl-C is one interrupt, by whichever way: a second one would end the coroutine's cleanup."""
    terminal = start(f"""
        def run_loop():
            import asyncio
            async def wait():
                asyncio.get_running_loop().call_soon(started.send, None)
                try:
                    await asyncio.sleep(1000)
                finally:
                    await asyncio.sleep(0.3)
                    print("cleaned up")
            asyncio.run(wait())

        ready()
        {LOOPS[use]}
    """)
    _press(terminal)
    assert terminal.wait() == -signal.SIGINT, terminal.output
    assert terminal.output.count("cleaned up\n") == 1, terminal.output
    assert "ignored" not in terminal.output


def test_a_block_in_a_coroutine_is_left_at_once(start):
    terminal = start("""
        import asyncio

        async def main():
            with owngil.Pool(1) as pool:
                ready()
                await asyncio.get_running_loop().run_in_executor(pool, spin, started)

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("left", ended.recv(300))
    """)
    _press(terminal)
    assert terminal.wait() == 0, terminal.output
    assert terminal.output.endswith("left interrupted\n"), terminal.output


CALLS = {
    "run": "owngil.run(spin, started)",
    "map": "list(owngil.map(spin_item, [started]))",
    "to_interpreter": "import asyncio; asyncio.run(owngil.to_interpreter(spin, started))",
    "Interpreter.call": "it = owngil.Interpreter(); it.call(spin, started)",
    "Interpreter.exec": "it = owngil.Interpreter(); it.exec('spin(started)', spin=spin, started=started)",
    "result": "pool = owngil.Pool(1); pool.submit(spin, started).result()",
    "exception": "pool = owngil.Pool(1); pool.submit(spin, started).exception()",
    "two results": "pool = owngil.Pool(2); fs = [pool.submit(spin, started) for _ in 'ab']; [f.result() for f in fs]",
}


@pytest.mark.parametrize("call", CALLS)
def test_the_task_that_the_program_waits_for_is_interrupted(start, call):
    terminal = start(f"""
        ready()
        try:
            {CALLS[call]}
        except KeyboardInterrupt:
            print("left", ended.recv(300))
        if {call == "two results"}:
            pool.interrupt()
        print(owngil.run(abs, -5))
    """)
    _press(terminal)
    assert terminal.wait() == 0, terminal.output
    assert "left interrupted\n5\n" in terminal.output, terminal.output


@pytest.mark.parametrize("call", [*CALLS, "two that are not awaited"])
def test_a_program_that_does_not_catch_ctrl_c_ends_at_once(start, call):
    source = CALLS.get(call) or "pool = owngil.Pool(1); [pool.submit(spin, started) for _ in 'ab']; time.sleep(1000)"
    terminal = start(f"""
        atexit.register(print, "at exit")
        ready()
        {source}
    """)
    _press(terminal)
    assert terminal.wait() == -signal.SIGINT, terminal.output
    assert terminal.output.endswith("KeyboardInterrupt\nat exit\n"), terminal.output
    assert "owngil: worker" not in terminal.output


def test_the_exit_code_is_that_of_ctrl_c_whatever_workers_evaluate_meanwhile(start):
    terminal = start("""
        def spin_and_evaluate(started):
            started.send(None)
            try:
                while True:
                    pass
            except KeyboardInterrupt:
                print(eval("1 + 1"))

        ready()
        pool = owngil.Pool(1)
        pool.submit(spin_and_evaluate, started)
        time.sleep(1000)
    """)
    _press(terminal)
    assert terminal.wait() == -signal.SIGINT, terminal.output
    assert terminal.output.endswith("KeyboardInterrupt\n2\n"), terminal.output


def test_ctrl_c_at_exit(start):
    terminal = start("""
        atexit.register(print, "at exit")
        pool = owngil.Pool(1)
        pool.submit(spin, started)
        pool.submit(print, "never")
        ready_at_exit()
    """)
    _press(terminal)
    assert terminal.wait() == 0, terminal.output
    assert terminal.output in ("ready\nready\nat exit\n", "ready\nat exit\n")


STUCK = {
    "in a block": "with Pool() as pool: pool.submit(read_for_ever, started).result()",
    "at the end of a block": "with Pool() as pool: pool.submit(read_for_ever, started)",
    "without a block": "pool = Pool(); pool.submit(read_for_ever, started).result()",
    "at exit": "pool = Pool(); pool.submit(read_for_ever, started); ready_at_exit()",
}


@pytest.mark.parametrize("where", STUCK)
def test_a_stuck_task_is_reported_and_the_second_ctrl_c_leaves_it(start, where):
    terminal = start(
        f"""
        atexit.register(print, "registered after owngil")
        Pool = lambda: owngil.Pool(1, thread_name_prefix="stuck")
        if {where != "at exit"}:
            ready()
        {STUCK[where]}
        """,
        "registered before owngil",
    )
    _press(terminal)
    terminal.wait_for("owngil: worker 'stuck-0' is still running 2.5 s after its task was interrupted.")
    terminal.wait_for("Press Ctrl-C again to go on without it.")
    terminal.wait_for("return os.read(receiver, 1)")
    terminal.press_ctrl_c()
    assert terminal.wait() == -signal.SIGINT, terminal.output
    assert terminal.output.endswith("registered after owngil\nregistered before owngil\n"), terminal.output
    assert terminal.output.count("registered") == 2
    assert ("Traceback" in terminal.output) == (where != "at exit")


# Programs in which a worker is busy before its first task.
PRELOAD = """
with open("starts_slowly.py", "w") as file:
    file.write('import os' + chr(10) + 'os.write(1, b"ready" + bytes([10]))' + chr(10) + 'while True: pass')
Pool = lambda: owngil.Pool(1, preload=["starts_slowly"])
"""
STARTS = {
    "initializer": "ready(); Pool = lambda: owngil.Pool(1, initializer=spin, initargs=(started,))",
    "preload": PRELOAD,
    "initializer that waits": """
def wait(started):
    started.send(None)
    owngil.Event().wait()
ready(); Pool = lambda: owngil.Pool(1, initializer=wait, initargs=(started,))
""",
    "initializer in asyncio": """
def wait(started):
    import asyncio
    async def main():
        asyncio.get_running_loop().call_soon(started.send, None)
        await owngil.Channel().arecv()
    asyncio.run(main())
ready(); Pool = lambda: owngil.Pool(1, initializer=wait, initargs=(started,))
""",
}


USES = {
    "in a block": "with Pool() as pool: pool.submit(abs, -1).result()",
    "at its end": "with Pool() as pool: pool.submit(abs, -1)",
    "without a block": "pool = Pool(); pool.submit(abs, -1).result()",
    "broadcast": "with Pool() as pool: pool.broadcast(abs, -1)",
}


@pytest.mark.parametrize("begin", STARTS)
@pytest.mark.parametrize("use", USES)
def test_a_worker_that_starts_is_stopped(start, begin, use):
    terminal = start(f"{STARTS[begin]}\natexit.register(print, 'at exit')\n{USES[use]}\n")
    _press(terminal)
    assert terminal.wait() == -signal.SIGINT, terminal.output
    assert terminal.output.endswith("KeyboardInterrupt\nat exit\n"), terminal.output
    assert "owngil: worker" not in terminal.output


@pytest.mark.parametrize("begin", STARTS)
def test_a_program_that_catches_the_interrupt_of_a_start_goes_on(start, begin):
    source = """
try:
    with Pool() as pool:
        pool.submit(abs, -1).result()
except KeyboardInterrupt:
    print("left", owngil.run(abs, -5))
"""
    terminal = start(STARTS[begin] + source)
    _press(terminal)
    assert terminal.wait() == 0, terminal.output
    assert terminal.output.endswith("left 5\n"), terminal.output


def test_a_stuck_start_is_reported_and_the_second_ctrl_c_leaves_it(start):
    terminal = start("""
        atexit.register(print, "at exit")
        ready()
        with owngil.Pool(1, initializer=read_for_ever, initargs=(started,), thread_name_prefix="stuck") as pool:
            pool.submit(abs, -1).result()
    """)
    _press(terminal)
    terminal.wait_for("owngil: worker 'stuck-0' is still starting 2.5 s after its start was interrupted.")
    terminal.wait_for("Press Ctrl-C again to go on without it.")
    terminal.wait_for("return os.read(receiver, 1)")
    terminal.press_ctrl_c()
    assert terminal.wait() == -signal.SIGINT, terminal.output
    assert terminal.output.endswith("at exit\n"), terminal.output


def test_ctrl_c_twice_in_a_row(start):
    terminal = start("""
        atexit.register(print, "at exit")
        ready()
        with owngil.Pool(2) as pool:
            pool.submit(spin, started).result()
    """)
    _press(terminal)
    terminal.press_ctrl_c()
    assert terminal.wait() == -signal.SIGINT, terminal.output
    assert terminal.output.endswith("at exit\n"), terminal.output
    assert "Fatal" not in terminal.output


# Process 1 cannot be ended by its own signals; in containers, Python often is process 1.
UNSHARES = [
    ("unshare", "--pid", "--fork"),
    ("unshare", "--user", "--map-root-user", "--pid", "--fork"),
    ("sudo", "-n", "unshare", "--pid", "--fork"),
]


def _as_process_1(*arguments):
    """Run a program as process 1 of a namespace and return its exit code; None if namespaces are not available."""
    for unshare in UNSHARES:
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL).returncode == 0:
                return subprocess.run([*unshare, *arguments]).returncode
    return None


def test_process_1_of_a_container_ends_too():
    # unshare(1) waits for the program's end in any case, so the program has a timer of its own.
    source = f"""
        import faulthandler; faulthandler.dump_traceback_later({LONG}, exit=True)
        from owngil import _core
        _core.die_of_sigint()
    """
    code = _as_process_1(sys.executable, "-c", textwrap.dedent(source))
    if code is None:
        pytest.skip("unshare(1) may not make a namespace of processes here")
    assert code == 128 + signal.SIGINT  # as CPython in this case


SHELLS = {"basic": {"PYTHON_BASIC_REPL": "1"}, "new": {"PYTHON_BASIC_REPL": "", "TERM": "xterm"}}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("options", [(), ("-i",)], ids=["python", "python -i"])
def test_ctrl_c_in_the_interactive_interpreter(tmp_path, shell, options):
    if shell == "new" and sys.version_info < (3, 13):
        pytest.skip("there is one since Python 3.13")
    path = tmp_path / "names.py"
    path.write_text(HEAD)
    arguments = (*options, str(path)) if options else ()
    with Terminal(sys.executable, "-q", *arguments, cwd=tmp_path, env=SHELLS[shell]) as terminal:
        terminal.wait_for(">>> ")
        if not options:
            terminal.type("exec(open('names.py').read())\r")  # an imported module would have other channels
            terminal.wait_for(">>> ")
        for wait in ("owngil.run(spin, started)", "list(owngil.map(spin_item, [started]))"):
            terminal.type("ready()\r")
            terminal.wait_for(">>> ")
            terminal.type(f"{wait}\r")
            _press(terminal)
            terminal.wait_for("KeyboardInterrupt")
            terminal.wait_for(">>> ")
            terminal.type("print(ended.recv(300), owngil.run(abs, -5))\r")
            terminal.wait_for("interrupted 5")
            terminal.wait_for(">>> ")
        terminal.type("exit()\r")
        # 3.14's basic shell ends by SIGINT if Ctrl-C was ever pressed in it, with or without owngil.
        by_sigint = shell == "basic" and sys.version_info >= (3, 14)
        assert terminal.wait() == (-signal.SIGINT if by_sigint else 0), terminal.output
