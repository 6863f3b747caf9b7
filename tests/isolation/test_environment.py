"""Workers have environment variables of their own."""

import os
import sys

import pytest

_ENDS = """
    import os
    import subprocess
    import owngil

    def change(times):
        for k in range(times):
            os.environ[f"OWN_{k % 50}"] = "x" * (k % 300)
            os.environ.pop(f"OWN_{(k + 25) % 50}", None)
"""


def test_subprocesses_of_main_start_while_workers_change_variables(ends_cleanly):
    ends_cleanly(
        _ENDS
        + """
    with owngil.Pool(2) as pool:
        futures = [pool.submit(change, 60_000) for _ in range(2)]
        for _ in range(60):
            subprocess.run(["true"], check=True)
            os.waitpid(os.posix_spawn("/bin/true", ["true"], os.environ), 0)
        for future in futures:
            future.result()
    assert not any(name.startswith("OWN_") for name in os.environ)
    assert "OWN_" not in subprocess.check_output(["/usr/bin/env"], text=True)
    """
    )


def test_subprocesses_of_main_start_while_workers_import_numpy(ends_cleanly):
    pytest.importorskip("numpy")
    ends_cleanly(
        _ENDS
        + """
    def load():
        import numpy
        return int(numpy.ones(3).sum())

    for _ in range(3):
        with owngil.Pool(2) as pool:
            futures = [pool.submit(load) for _ in range(2)]
            while not all(future.done() for future in futures):
                subprocess.Popen(["true"]).wait()
            assert [future.result() for future in futures] == [3, 3]
    """
    )


def _set(value):
    os.environ["OWN"] = value


def _read():
    import os

    return os.environ.get("OWN"), os.environb.get(b"OWN"), os.getenv("OWN")


def test_a_worker_starts_with_its_callers_variables_and_keeps_its_own(pool_of_one, monkeypatch):
    monkeypatch.setenv("OWN", "main's")
    with pool_of_one() as pool, pool_of_one() as other:
        assert pool.submit(_read).result() == ("main's", b"main's", "main's")
        assert other.submit(_read).result() == ("main's", b"main's", "main's")
        pool.submit(_set, "worker's").result()
        assert pool.submit(_read).result() == ("worker's", b"worker's", "worker's")
        assert other.submit(_read).result()[0] == os.environ["OWN"] == "main's"
        monkeypatch.setenv("OWN", "later")
        assert pool.submit(_read).result()[0] == "worker's"
    with pool_of_one() as pool:
        assert pool.submit(_read).result()[0] == "later"


def test_a_nested_worker_starts_with_its_callers_variables(pool_of_one):
    def nested():
        import os

        import owngil

        os.environ["OWN"] = "outer"
        with owngil.Interpreter() as inner:
            return inner.call(lambda: __import__("os").environ.pop("OWN")), os.environ["OWN"]

    with pool_of_one() as pool:
        assert pool.submit(nested).result() == ("outer", "outer")
    assert "OWN" not in os.environ


def _start_everything():
    import asyncio
    import multiprocessing
    import os
    import subprocess

    def child(spawn):
        read, write = os.pipe()
        spawned = spawn("/bin/sh", ["sh", "-c", "echo $OWN"], file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
        os.close(write)
        os.waitpid(spawned, 0)
        with open(read) as stream:
            return stream.read().strip()

    async def from_asyncio():
        process = await asyncio.create_subprocess_shell("echo $OWN", stdout=subprocess.PIPE)
        return (await process.communicate())[0].decode().strip()

    os.environ["OWN"] = "5"
    results = {
        "run": subprocess.check_output(["sh", "-c", "echo $OWN"], text=True).strip(),
        "env": subprocess.check_output(["sh", "-c", "echo $OWN"], text=True, env=os.environ).strip(),
        "system": str(os.waitstatus_to_exitcode(os.system("exit $OWN"))),
        "popen": os.popen("echo $OWN").read().strip(),
        "posix_spawn": child(lambda path, argv, **options: os.posix_spawn(path, argv, None, **options)),
        "posix_spawnp": child(lambda path, argv, **options: os.posix_spawnp(path, argv, None, **options)),
        "asyncio": asyncio.run(from_asyncio()),
    }
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as processes:
            results[method] = processes.apply(os.getenv, ("OWN",))
    os.putenv("OWN", "put")
    results["putenv"] = subprocess.check_output("echo $OWN", shell=True, text=True).strip() + os.environ["OWN"]
    os.unsetenv("OWN")
    results["unsetenv"] = subprocess.check_output("echo $OWN.", shell=True, text=True).strip() + os.environ["OWN"]
    return results


def test_every_subprocess_gets_the_workers_variables(pool_of_one):
    with pool_of_one() as pool:
        results = pool.submit(_start_everything).result()
    assert (results.pop("putenv"), results.pop("unsetenv")) == ("put5", ".5")
    assert set(results.values()) == {"5"}, results
    assert "OWN" not in os.environ


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("", "x", OSError), ("a=b", "x", ValueError), ("a\0b", "x", ValueError), ("a", "x\0", ValueError)],
)
def test_wrong_names_are_refused_as_in_main(pool_of_one, name, value, kind):
    def put(name, value):
        import os

        os.environ[name] = value

    with pytest.raises(kind):
        put(name, value)
    with pool_of_one() as pool, pytest.raises(kind):
        pool.submit(put, name, value).result()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="new in 3.14")
def test_reloading_forgets_no_variable_of_the_worker(pool_of_one):
    def reload():
        import os

        os.environ["OWN"] = "own"
        os.putenv("PUT", "put")
        os.reload_environ()
        return os.environ["OWN"], os.environ["PUT"]

    with pool_of_one() as pool:
        assert pool.submit(reload).result() == ("own", "put")


def test_a_worker_cannot_change_the_time_zone(pool_of_one):
    def change(zone):
        import os
        import time

        time.tzset()
        os.environ["TZ"] = zone
        time.tzset()

    with pool_of_one() as pool, pytest.raises(RuntimeError, match="cannot change the time zone"):
        pool.submit(change, "Asia/Tokyo").result()


@pytest.fixture
def pool_of_one():
    import owngil

    return lambda: owngil.Pool(1)


def test_an_interrupt_at_any_instruction_of_system_leaves_no_child(ends_cleanly):
    out = ends_cleanly("""
    import owngil

    def interrupt_each():
        import os, sys

        interrupted = children = 0
        while True:
            instructions = iter(range(interrupted + 1))

            def trace(frame, event, arg):
                if not frame.f_code.co_filename.endswith("environment.py"):
                    return None
                frame.f_trace_opcodes = True
                if next(instructions) == interrupted:
                    raise KeyboardInterrupt
                return trace

            sys.settrace(trace)
            try:
                status = os.system("exit 3")
            except KeyboardInterrupt:
                interrupted += 1
            else:
                return interrupted > 10, status >> 8, children
            finally:
                sys.settrace(None)
            try:
                os.waitpid(-1, 0)
                children += 1
            except ChildProcessError:
                pass

    with owngil.Interpreter() as it:
        print(it.call(interrupt_each))
    """)
    assert out == "(True, 3, 0)\n"
