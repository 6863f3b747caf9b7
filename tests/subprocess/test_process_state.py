"""Functions of the standard library with state of the whole process, in several interpreters at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import HANGS_AFTER


def test_lists_of_users_and_groups_are_whole_in_all_interpreters(ends_cleanly):
    ends_cleanly(
        """
    import grp
    from pwd import getpwall  # before a worker guards it
    import owngil

    def read(getpwall=None):
        import grp, pwd
        getpwall = getpwall or pwd.getpwall
        return sorted(tuple(user) for user in getpwall()), sorted(map(str, grp.getgrall()))

    def differences(expected, getpwall=None):
        return sum(read(getpwall) != expected for _ in range(150))

    with owngil.Pool(2) as pool:
        expected = pool.submit(read).result()
        assert len(expected[0]) > 1 and len(expected[1]) > 1, expected
        futures = [pool.submit(differences, expected) for _ in range(2)]
        assert differences(expected, getpwall) == 0
        assert [future.result() for future in futures] == [0, 0]
    """
    )


def test_services_are_found_in_all_interpreters(ends_cleanly):
    ends_cleanly(
        """
    import owngil

    def differences(name, port, protocol, number):
        import socket
        return sum(
            socket.getservbyname(name) != port or socket.getservbyport(port) != name
            or socket.getprotobyname(protocol) != number
            for _ in range(8000)
        )

    def find(name, protocol):
        import socket
        return name, socket.getservbyname(name), protocol, socket.getprotobyname(protocol)
    try:
        known = [find("http", "tcp"), find("ssh", "udp"), find("smtp", "icmp")]
    except OSError:
        pass  # this system has no list
    else:
        with owngil.Pool(3) as pool:
            assert list(pool.map(differences, *zip(*known), chunksize=1)) == [0, 0, 0]
    """
    )


def test_a_fork_beside_workers_that_read_the_lists(ends_cleanly):
    ends_cleanly(
        """
    import os, pwd, warnings
    import owngil
    warnings.simplefilter("ignore", DeprecationWarning)

    def read_until(stop, started):
        import pwd
        started.wait()
        while not stop.is_set():
            assert pwd.getpwall()

    stop, started = owngil.Event(), owngil.Barrier(3)
    with owngil.Pool(2) as pool:
        futures = [pool.submit(read_until, stop, started) for _ in range(2)]
        started.wait()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                os._exit(0 if pwd.getpwall() else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for future in futures:
            future.result()
    """
    )


def test_a_worker_leaves_syslog_alone(ends_cleanly):
    ends_cleanly(
        """
    import sys, syslog
    import owngil

    def log():
        import syslog
        for _ in range(2):
            try:
                syslog.syslog("a line")
            except RuntimeError as error:
                assert "use logging" in str(error), error
            else:
                raise AssertionError("it did not refuse")

    name = f"owngil-{len(sys.path)}"
    syslog.openlog(name)
    syslog.setlogmask(1)  # nothing is written
    references = sys.getrefcount(name)
    with owngil.Pool(2) as pool:
        pool.broadcast(log)
        syslog.syslog("a line")
    assert sys.getrefcount(name) == references
    syslog.closelog()
    """
    )


def test_a_worker_leaves_the_trampolines_for_perf_alone(ends_cleanly):
    ends_cleanly(
        """
    import os, sys
    import owngil

    def activate_and_deactivate():
        import sys
        for change in [lambda: sys.activate_stack_trampoline("perf"), sys.deactivate_stack_trampoline] * 3:
            try:
                change()
            except RuntimeError as error:
                assert "call it in the main interpreter" in str(error), error
            else:
                raise AssertionError("it did not refuse")
        return sys.is_stack_trampoline_active()

    try:
        sys.activate_stack_trampoline("perf")
    except ValueError:
        sys.exit()  # this processor has none
    with owngil.Interpreter() as it:
        assert not it.call(activate_and_deactivate)
    exec("def made_after_the_worker(): pass\\nmade_after_the_worker()")
    with open(f"/tmp/perf-{os.getpid()}.map") as file:
        assert "made_after_the_worker" in file.read()
    os.unlink(file.name)
    assert sys.is_stack_trampoline_active()
    """
    )


def test_a_worker_tells_the_locale_and_does_not_change_it(ends_cleanly):
    ends_cleanly(
        """
    import locale
    import owngil

    def use(time):
        import locale
        assert locale.setlocale(locale.LC_TIME) == locale.setlocale(locale.LC_TIME, time) == time
        assert locale.getpreferredencoding() and locale.localeconv()["decimal_point"] == "."
        try:
            locale.setlocale(locale.LC_TIME, "C.UTF-8" if time == "C" else "C")
        except locale.Error as error:
            assert "a worker cannot change the locale" in str(error), error
        else:
            raise AssertionError("it did not refuse")

    present = locale.setlocale(locale.LC_ALL)
    with owngil.Interpreter() as it:
        it.call(use, locale.setlocale(locale.LC_TIME))
        assert locale.setlocale(locale.LC_ALL) == present
        it.call(use, locale.setlocale(locale.LC_TIME, "POSIX"))
    """
    )


def test_faulthandler_stays_mains(run_program):
    done = run_program(
        """
    import faulthandler, os, signal, sys
    import owngil

    def use(own):
        import faulthandler, signal, sys
        with open(own, "w+") as file:
            faulthandler.enable(file)
            faulthandler.register(signal.SIGUSR1, file)
            faulthandler.dump_traceback_later(1000, file=file)
            faulthandler.cancel_dump_traceback_later()
            faulthandler.unregister(signal.SIGUSR1)
            faulthandler.disable()
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            return file.read()

    faulthandler.register(signal.SIGUSR1, file=sys.stdout)
    for k in range(3):
        with owngil.Interpreter() as it:
            dump = it.call(use, "dump")
            assert " in use" in dump and " in <module>" in dump, dump
        faulthandler.enable(sys.stderr)
        assert faulthandler.is_enabled()
        os.kill(os.getpid(), signal.SIGUSR1)
    """
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("Current thread") == 3
    assert " in use" not in done.stdout


@pytest.mark.parametrize("switch", [["-X", "perf"], ["-X", "dev"], ["-X", "importtime"], ["-W", "error"]])
def test_switches_of_the_interpreter(switch, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, owngil\n"
        "def work(n):\n"
        "    import statistics\n"
        "    return statistics.mean(range(n))\n"
        "for _ in range(2):\n"
        "    with owngil.Pool(2) as pool:\n"
        "        assert list(pool.map(work, [3, 5, 7])) == [1, 2, 3]\n"
        "print(os.getpid())\n"
    )
    done = subprocess.run([sys.executable, *switch, str(program)], capture_output=True, text=True, timeout=HANGS_AFTER)
    assert done.returncode == 0, done.stderr
    if os.path.exists(file := f"/tmp/perf-{done.stdout.strip()}.map"):
        os.unlink(file)
    assert done.stderr == "" or "importtime" in switch


WITHOUT_FOLDERS = """
    import os
    import owngil

    before = os.getcwd()
    with owngil.Interpreter() as it:
        for change in (os.chdir, os.fchdir):
            try:
                it.call(change, "/")
            except RuntimeError as error:
                print(error)
        print(it.call(os.getcwd) == os.getcwd() == before)
"""


def test_where_no_thread_may_have_a_folder_of_its_own(preload, ends_cleanly):
    preload(Path(__file__).with_name("no_unshare.c"))
    *refused, same = ends_cleanly(WITHOUT_FOLDERS).splitlines()
    assert same == "True"
    for name, error in zip(("chdir", "fchdir"), refused, strict=True):
        assert error.startswith(f"os.{name}() in worker 'interpreter-")
        assert "use absolute paths" in error
