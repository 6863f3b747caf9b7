"""Common uses of the standard library, in two workers at once."""

import os
import subprocess
import sys
import threading

import pytest

import owngil


@pytest.fixture(scope="module")
def pair():
    """Run a function in two workers at the same time, several times, and return all results."""
    with owngil.Pool(2) as pool:

        def at_once(fn, *args, times=3):
            def task(barrier):
                barrier.wait(300)
                return fn(*args)

            results = []
            for _ in range(times):
                barrier = owngil.Barrier(2)
                futures = [pool.submit(task, barrier) for _ in range(2)]
                results += [future.result() for future in futures]
            return results

        yield at_once


def all_are(results, value):
    return results == [value] * len(results)


class TestThreads:
    def test_threads_queues_and_locals(self, pair):
        def task():
            import queue
            import threading

            todo, done, own = queue.Queue(), queue.Queue(), threading.local()

            def work():
                own.seen = 0
                while (item := todo.get()) is not None:
                    own.seen += item
                done.put(own.seen)

            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for k in range(1000):
                todo.put(k)
            for _ in threads:
                todo.put(None)
            for thread in threads:
                thread.join()
            return sum(done.get() for _ in threads)

        assert all_are(pair(task), sum(range(1000)))

    def test_thread_pool_and_timer(self, pair):
        def task():
            import threading
            from concurrent.futures import ThreadPoolExecutor

            rang = threading.Event()
            timer = threading.Timer(0.01, rang.set)
            timer.start()
            with ThreadPoolExecutor(4) as executor:
                total = sum(executor.map(pow, range(100), [2] * 100))
            return total, rang.wait(300)

        assert all_are(pair(task), (328350, True))


class TestAsyncio:
    def test_run(self, pair):
        def task():
            import asyncio

            async def square(k):
                await asyncio.sleep(0.001 * (k % 3))
                return k * k

            async def main():
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(square(k)) for k in range(50)]
                in_thread = await asyncio.to_thread(sum, [1, 2, 3])
                return sum(task.result() for task in tasks), in_thread

            return asyncio.run(main())

        assert all_are(pair(task), (40425, 6))

    def test_streams(self, pair):
        def task():
            import asyncio

            async def echo(reader, writer):
                writer.write((await reader.readline()).upper())
                await writer.drain()
                writer.close()

            async def main():
                server = await asyncio.start_server(echo, "127.0.0.1", 0)
                port = server.sockets[0].getsockname()[1]
                async with server:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(b"hello\n")
                    answer = await reader.readline()
                    writer.close()
                    await writer.wait_closed()
                return answer

            return asyncio.run(main())

        assert all_are(pair(task), b"HELLO\n")

    def test_subprocesses(self, pair):
        def task():
            import asyncio

            async def main():
                process = await asyncio.create_subprocess_exec(
                    "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
                )
                out, _ = await process.communicate(b"through a pipe")
                return out, process.returncode

            return asyncio.run(main())

        assert all_are(pair(task), (b"through a pipe", 0))

    def test_run_in_executor_with_a_pool(self, pair):
        def task():
            import asyncio

            import owngil

            async def main():
                loop = asyncio.get_running_loop()
                with owngil.Pool(2) as inner:
                    return await asyncio.gather(*(loop.run_in_executor(inner, pow, k, 2) for k in range(10)))

            return asyncio.run(main())

        squares = [k * k for k in range(10)]
        assert all_are(pair(task, times=1), squares)
        assert task() == squares

    def test_timeouts_and_cancellation(self, pair):
        def task():
            import asyncio

            async def main():
                try:
                    async with asyncio.timeout(0.01):
                        await asyncio.sleep(60)
                except TimeoutError:
                    pass
                else:
                    return "no timeout"
                sleeper = asyncio.create_task(asyncio.sleep(60))
                await asyncio.sleep(0)
                sleeper.cancel()
                await asyncio.wait([sleeper])
                return sleeper.cancelled()

            return asyncio.run(main())

        assert all_are(pair(task), True)


class TestProcesses:
    def test_subprocess(self, pair):
        def task():
            import os
            import subprocess

            run = subprocess.run(
                ["sh", "-c", "cat; echo $WORD; pwd; echo oops >&2; exit 3"],
                input="in\n",
                capture_output=True,
                text=True,
                env={**os.environ, "WORD": "out"},
                cwd="/",
                check=False,
            )
            try:
                subprocess.run(["sleep", "60"], timeout=0.05, check=False)
            except subprocess.TimeoutExpired:
                expired = True
            with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
                out, _ = process.communicate(b"x" * 200_000)
            return run.stdout, run.stderr, run.returncode, expired, len(out), process.returncode

        assert all_are(pair(task), ("in\nout\n/\n", "oops\n", 3, True, 200_000, 0))

    def test_other_ways_to_start_processes(self, pair):
        def task():
            import os

            child = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 5"], os.environ)
            return (
                os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]),
                os.waitstatus_to_exitcode(os.system("exit 6")),
                os.popen("echo hello").read(),
            )

        assert all_are(pair(task), (5, 6, "hello\n"))

    @pytest.mark.parametrize("method", ["spawn", "forkserver"])
    def test_multiprocessing(self, pair, method):
        def task():
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor

            context = multiprocessing.get_context(method)
            with ProcessPoolExecutor(1, mp_context=context) as executor:
                power = executor.submit(pow, 2, 10).result(300)
            process = context.Process(target=int, args=("no number",))
            process.start()
            process.join(300)
            return power, process.exitcode

        assert all_are(pair(task, times=1), (1024, 1))

    def test_the_fork_server_of_multiprocessing_ends_with_the_worker(self, ends_cleanly):
        ends_cleanly("""
            import os
            import owngil

            def task():
                import multiprocessing
                for method in ("spawn", "forkserver"):
                    with multiprocessing.get_context(method).Pool(1) as pool:
                        pool.apply(abs, (-1,))

            def children():
                found = []
                for pid in filter(str.isdigit, os.listdir("/proc")):
                    try:
                        with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/cmdline") as line:
                            if stat.read().rpartition(")")[2].split()[1] == str(os.getpid()):
                                found.append(line.read())
                    except OSError:  # the process has ended
                        pass
                return [line for line in found if "multiprocessing" in line]

            from multiprocessing import resource_tracker
            resource_tracker.ensure_running()  # main's, which workers share
            before = len(os.listdir("/proc/self/fd"))
            with owngil.Interpreter() as it:
                it.call(task)
                assert len(children()) == 2
            assert ["resource_tracker" in line for line in children()] == [True]
            assert len(os.listdir("/proc/self/fd")) == before
        """)

    @pytest.mark.parametrize(
        ("what", "advice"),
        [
            ("import os; os.fork()", r"os.fork\(\) in worker '.+' .* use subprocess, or multiprocessing"),
            ("import pty; pty.fork()", r"os.forkpty\(\) .* pty.openpty"),
            ("import os; os.execv('/bin/true', ['true'])", r"os.execv\(\) .* use subprocess.run\(\)"),
            ("import os; os.execlp('true', 'true')", r"os.execv\(\) .* use subprocess.run\(\)"),
            ("import os; os.spawnlp(os.P_WAIT, 'true', 'true')", r"os.fork\(\) .* use subprocess"),
            (
                "import multiprocessing as m; m.get_context('fork').Process(target=print).start()",
                r"os.fork\(\) .*get_context\('spawn'\)",
            ),
            ("import subprocess; subprocess.run('true', preexec_fn=print)", "preexec_fn not supported"),
        ],
    )
    def test_calls_that_would_fork_or_replace_the_process_are_refused(self, interpreter, what, advice):
        with pytest.raises(RuntimeError, match=advice):
            interpreter.exec(what)
        assert interpreter.call(abs, -1) == 1

    def test_main_may_still_fork_and_exec(self):
        done = subprocess.run(
            [sys.executable, "-c", "import owngil, os; os.execv('/bin/echo', ['echo', 'replaced'])"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.returncode) == ("replaced\n", 0)


class TestFiles:
    def test_tempfile(self, pair):
        def task():
            import os
            import tempfile

            with tempfile.TemporaryDirectory() as directory:
                names = set()
                for k in range(20):
                    with tempfile.NamedTemporaryFile("w+", dir=directory) as file:
                        file.write("x" * k)
                        file.flush()
                        names.add(file.name)
                        sized = os.path.getsize(file.name) == k
                with tempfile.SpooledTemporaryFile(10) as file:
                    file.write(b"y" * 100)
                    file.seek(0)
                    spooled = len(file.read())
            return len(names), sized, spooled, os.path.exists(directory)

        assert all_are(pair(task), (20, True, 100, False))

    def test_sqlite(self, pair, tmp_path):
        path = str(tmp_path / "numbers.db")

        def prepare():
            import sqlite3

            connection = sqlite3.connect(path)
            with connection:
                connection.execute("create table numbers (worker text, n integer)")
            connection.close()

        def task():
            import sqlite3
            import threading

            name = f"{threading.get_ident()}"
            connection = sqlite3.connect(path, timeout=300)
            connection.create_function("twice", 1, lambda n: 2 * n)
            for k in range(20):
                with connection:
                    connection.execute("insert into numbers values (?, ?)", (name, k))
            total = connection.execute("select sum(twice(n)) from numbers where worker = ?", (name,)).fetchone()[0]
            try:
                connection.execute("select * from nowhere")
            except sqlite3.OperationalError as error:
                failure = str(error)
            connection.close()
            return total % 380, failure

        prepare()
        assert all_are(pair(task, times=2), (0, "no such table: nowhere"))
        import sqlite3

        connection = sqlite3.connect(path)
        assert connection.execute("select count(*), sum(n) from numbers").fetchone() == (80, 760)
        connection.close()


class TestNetwork:
    def test_sockets(self, pair):
        def task():
            import selectors
            import socket
            import threading

            server = socket.create_server(("127.0.0.1", 0))

            def serve():
                connection, _ = server.accept()
                with connection:
                    while data := connection.recv(1000):
                        connection.sendall(data[::-1])

            thread = threading.Thread(target=serve)
            thread.start()
            with socket.create_connection(server.getsockname(), timeout=300) as client:
                client.sendall(b"abc")
                answer = client.recv(1000)
            thread.join()
            server.close()
            a, b = socket.socketpair()
            with a, b, selectors.DefaultSelector() as selector:
                selector.register(b, selectors.EVENT_READ)
                nothing = selector.select(0)
                a.send(b"x")
                ready = len(selector.select(300))
            return answer, nothing, ready

        assert all_are(pair(task), (b"cba", [], 1))

    def test_http(self, pair):
        def task():
            import http.server
            import threading
            import urllib.request

            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(self.path.encode())

                def log_message(self, *args):
                    pass

            with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
                thread = threading.Thread(target=server.serve_forever)
                thread.start()
                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                with opener.open(f"http://127.0.0.1:{server.server_port}/path", timeout=300) as answer:
                    body = answer.read()
                server.shutdown()
                thread.join()
            return body

        assert all_are(pair(task), b"/path")

    def test_ssl(self, pair):
        """A real handshake and transfer. It uses no certificates, because a test would have to make or renew them."""

        def task():
            import socket
            import ssl
            import threading

            def make_context(protocol):
                context = ssl.SSLContext(protocol)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers("AECDH-AES256-SHA:ADH-AES256-GCM-SHA384:@SECLEVEL=0")
                return context

            left, right = socket.socketpair()

            def serve():
                with make_context(ssl.PROTOCOL_TLS_SERVER).wrap_socket(left, server_side=True) as server:
                    while data := server.recv(100_000):
                        server.sendall(data.upper())

            thread = threading.Thread(target=serve)
            thread.start()
            received = b""
            with make_context(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(right) as client:
                for _ in range(10):
                    client.sendall(b"x" * 10_000)
                    while len(received) % 10_000 or not received:
                        received += client.recv(100_000)
                    last, received = received, b""
                version, cipher = client.version(), client.cipher()
            thread.join()
            try:
                ssl.create_default_context(cafile="/dev/null")
            except ssl.SSLError as error:
                failure = isinstance(error, OSError)
            return last == b"X" * 10_000, version, cipher is not None, failure

        assert all_are(pair(task), (True, "TLSv1.2", True, True))


def test_run_in_executor_in_main():
    import asyncio

    async def main(pool):
        loop = asyncio.get_running_loop()
        squares = await asyncio.gather(*(loop.run_in_executor(pool, pow, k, 2) for k in range(100)))
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(pool, lambda: 1 // 0)
        return squares

    with owngil.Pool(2) as pool:
        assert asyncio.run(main(pool)) == [k * k for k in range(100)]


def test_a_closed_worker_leaves_no_threads_and_descriptors():
    """A worker that ran all of the above and is closed leaves no thread and no descriptor in the process."""

    def task():
        import asyncio
        import sqlite3
        import ssl
        import subprocess

        sqlite3.connect(":memory:").close()
        ssl.create_default_context()
        subprocess.run(["true"], check=True)

        async def main():
            await asyncio.to_thread(abs, 1)

        asyncio.run(main())

    with owngil.Interpreter() as it:
        it.call(task)
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with owngil.Interpreter() as it:
            it.call(task)
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, descriptors)
