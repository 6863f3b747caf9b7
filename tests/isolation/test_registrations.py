"""What a private copy registers for the whole process is called after its worker has closed, and does not crash."""

import signal
import sys
from pathlib import Path

import pytest
from extensions import build, libraries

HERE = Path(__file__).parents[1] / "extensions"
PROGRAM = """
    import ctypes, os, sys
    import owngil
    folder, name = sys.argv[1:]
    sys.path.insert(0, folder)
    read, write = os.pipe()
    source, end = os.pipe()

    def register(name, fd, source):
        import registrations
        return registrations.register(fd, source, name)

    with owngil.Interpreter() as it:
        assert it.call(register, name, write, source)
    with open("/proc/self/maps") as maps:
        print(any(folder in line or "owngil:registrations" in line for line in maps))
    """

# What is registered, and what provokes the call. The call is seen in the pipe, unless it comes at the end.
NOW = {
    "PySys_AddAuditHook": "sys.audit('test.event')",
    "Py_AddPendingCall": "ctypes.pythonapi.Py_MakePendingCalls()",
    "PyFile_SetOpenCodeHook": "import io; io.open_code(__file__).close()",
    "PyOS_ReadlineFunctionPointer": "ctypes.CFUNCTYPE(*[ctypes.c_void_p] * 4)"
    ".in_dll(ctypes.pythonapi, 'PyOS_ReadlineFunctionPointer')(None, None, None)",
    "PyOS_InputHook": "ctypes.CFUNCTYPE(None).in_dll(ctypes.pythonapi, 'PyOS_InputHook')()",
    "obstack_alloc_failed_handler": "ctypes.CFUNCTYPE(None)"
    ".in_dll(ctypes.CDLL(None), 'obstack_alloc_failed_handler')()",
    "timer_create": "",
    "aio_read": "os.write(end, b'x')",
    "register_printf_specifier": "ctypes.CDLL(None).snprintf(ctypes.create_string_buffer(9), 9, b'%W')",
    "putenv": "getenv = ctypes.CDLL(None).getenv; getenv.restype = ctypes.c_char_p; "
    "os.write(write, getenv(b'OWNGIL_TEST_REGISTRATIONS'))",
}
if sys.version_info >= (3, 13):
    NOW["PyRefTracer_SetTracer"] = NOW["dlsym"] = "object()"

# The same for calls that end the process, or come at its end, with the exit code.
AT_END = {
    "__cxa_at_quick_exit": ("ctypes.CDLL(None).quick_exit(0)", 0),
    "__cxa_atexit": ("", 0),
    "on_exit": ("", 0),
    "fopencookie": ("", 0),
    "setvbuf": ("", 0),
    "set_terminate": ("ctypes.CDLL('libstdc++.so.6')._ZSt9terminatev()", -signal.SIGABRT),
    "set_new_handler": ("ctypes.CDLL('libstdc++.so.6')._Znwm(ctypes.c_size_t(2**62))", -signal.SIGABRT),
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registrations")
    module = folder / f"registrations{build.SUFFIX}"
    libraries.compile_c(module, HERE / "registrations.c", "-lstdc++", "-lgcc_s")
    return str(folder)


@pytest.mark.parametrize("name", NOW)
def test_a_call_after_the_worker_has_closed(folder, ends_cleanly, name):
    printed = ends_cleanly(PROGRAM + f"{NOW[name]}\n    print(os.read(read, 1).decode())\n", folder, name)
    assert printed == "True\nC\n"


@pytest.mark.parametrize("name", AT_END)
def test_a_call_at_the_end_of_the_process(folder, tmp_path, run_program, name):
    provoke, code = AT_END[name]
    log = tmp_path / "log"
    program = PROGRAM.replace("read, write = os.pipe()", "write = os.open('log', os.O_CREAT | os.O_WRONLY)")
    done = run_program(program + f"sys.stdout.flush()\n    {provoke}\n", folder, name)
    assert (done.returncode, done.stdout) == (code, "True\n"), done.stderr
    assert log.read_text() == "C"


def test_an_open_file_in_a_copys_variables(folder, ends_cleanly):
    assert ends_cleanly(PROGRAM, folder, "open_memstream") == "True\n"


def test_an_exception_after_frames_were_registered(folder, ends_cleanly):
    """The unwinder reads all frames that were registered."""
    throw = "ctypes.CDLL('libgcc_s.so.1')._Unwind_Find_FDE(ctypes.c_void_p(1), ctypes.create_string_buffer(64))\n"
    assert ends_cleanly(PROGRAM + throw, folder, "__register_frame") == "True\n"
