"""The list of functions that keep a function is complete for this Python and this C library: callbacks.py."""

import re
import sysconfig
from pathlib import Path

import pytest

from core import callbacks, headers

SOURCES = Path(__file__).parents[2] / "src" / "core" / "loader"
PYTHON = ["Python.h", "datetime.h", "frameobject.h", "marshal.h", "structmember.h"]
LIBC = """
    aio argp argz dirent dlfcn envz err errno error execinfo fcntl fenv fmtmsg fnmatch fstab fts ftw gconv
    getopt glob grp gshadow iconv ifaddrs langinfo libgen libintl limits link locale malloc mcheck mntent
    monetary mqueue netdb nl_types nss obstack poll printf pthread pty pwd re_comp regex resolv sched search
    semaphore setjmp sgtty shadow signal spawn stdio stdio_ext stdlib string sys/auxv sys/epoll sys/eventfd
    sys/fanotify sys/inotify sys/mman sys/prctl sys/ptrace sys/random sys/resource sys/rseq sys/select
    sys/signalfd sys/single_threaded sys/socket sys/stat sys/time sys/timerfd sys/timex sys/uio sys/wait syslog
    tar termios threads time ttyent uchar ucontext ulimit unistd utime utmp utmpx wait wchar wctype wordexp
"""
# Python's own objects, which have pointers to functions in them: a function that takes one need not keep any.
OBJECTS = [
    "PyObject", "struct _object", "PyVarObject", "PyThreadState", "struct _ts", "PyInterpreterState", "struct _is",
]  # fmt: skip

ALL = [
    name
    for names in (
        callbacks.PINNING,
        callbacks.READ_AT_THE_END,
        callbacks.HANDLED_ELSEWHERE,
        callbacks.NOT_COVERED,
        *callbacks.HARMLESS.values(),
    )
    for name in names.split()
]


def test_names_are_in_one_class():
    assert sorted(ALL) == sorted(set(ALL))


@pytest.mark.parametrize("library", ["python", "libc"])
def test_every_function_that_takes_a_function_is_known(library):
    if library == "python":
        folder = sysconfig.get_path("include")
        source = "".join(f"#include <{name}>\n" for name in PYTHON)
        found = headers.find(source, [f"-I{folder}"], folder, OBJECTS)
        assert {"PySys_AddAuditHook", "PyOS_InputHook", "PyMem_SetAllocator", "PyCapsule_New"} <= found
    else:
        source = "".join(f"#if __has_include(<{name}.h>)\n#include <{name}.h>\n#endif\n" for name in LIBC.split())
        found = headers.find(source, [], "/usr", ["FILE"])
        assert {"signal", "qsort", "timer_create", "fopencookie", "obstack_alloc_failed_handler"} <= found
    unknown = sorted(found - set(ALL))
    assert not unknown, (
        f"{unknown} take or hold functions. Find out who keeps these, and for how long. If the process keeps them, add "
        "the function to loader/shim/pinning.h, or the variable to owngil_copies_decide(); then add the name to "
        "tests/core/callbacks.py"
    )


def test_the_core_handles_what_the_list_says():
    pinning = set(re.findall(r"\bX\((\w+), ", (SOURCES / "shim" / "pinning.h").read_text()))
    shim = set(re.findall(r"\bX\((\w+)\)", (SOURCES / "shim" / "interface.h").read_text()))
    decide = (SOURCES / "copies.c").read_text().partition("\nowngil_copies_decide(")[2].partition("\n}\n")[0]
    by_handle = {"at_quick_exit", "atexit", "pthread_atfork"}
    by_table = {"PyOS_setsig", "__sysv_signal", "sigaction", "signal", "sigset", "ssignal", "sysv_signal"}
    assert set(callbacks.PINNING.split()) <= pinning
    assert set(callbacks.HANDLED_ELSEWHERE.split()) - by_handle <= shim
    assert {"__cxa_at_quick_exit", "__cxa_atexit", "__register_atfork"} <= pinning
    assert set(callbacks.READ_AT_THE_END.split()) - by_table <= set(re.findall(r"\w+", decide))
    assert not pinning & shim
