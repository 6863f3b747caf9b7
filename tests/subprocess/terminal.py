"""A program under test with a terminal of its own, in which Ctrl-C can be pressed."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import termios
import time

from patience import HANGS_AFTER

__all__ = ["CTRL_C", "Terminal"]

CTRL_C = b"\x03"
#: Seconds after which a program hangs.
LONG = HANGS_AFTER


class Terminal:
    """A terminal that runs `arguments` in a session of its own.

    Parameters
    ----------
    *arguments : str
        The program's path and arguments.
    env : dict, optional
        More environment variables.
    """

    def __init__(self, *arguments, env=None, cwd=None):
        self.output = ""
        self.code = None
        self._read_up_to = 0
        master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        self._fd = master

        def take_terminal():
            os.setsid()
            os.close(os.open(os.ttyname(0), os.O_RDWR))  # a session without a terminal adopts the first that it opens

        self._process = subprocess.Popen(
            arguments,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=take_terminal,
            close_fds=True,
            cwd=cwd,
            env={**os.environ, "TERM": "dumb", "PYTHON_COLORS": "0", **(env or {})},
        )
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._fd)

    def _read(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._fd], [], [], left)[0]:
            raise AssertionError(f"nothing more came from the program for {LONG} s; so far:\n{self.output}")
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the last process has closed the terminal
            data = b""
        self.output += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)

    def wait_for(self, text):
        """Wait until the program has written `text` after the text of the previous wait."""
        deadline = time.monotonic() + LONG
        while (at := self.output.find(text, self._read_up_to)) < 0:
            if not self._read(deadline):
                raise AssertionError(f"the program ended without {text!r}:\n{self.output}")
        self._read_up_to = at + len(text)

    def type(self, text):
        """Press keys."""
        os.write(self._fd, text if isinstance(text, bytes) else text.encode())

    def press_ctrl_c(self):
        """Press Ctrl-C."""
        self.type(CTRL_C)

    def wait(self):
        """Wait for the end; return the exit code, negative for a signal."""
        deadline = time.monotonic() + LONG
        while self._read(deadline):
            pass
        self.code = self._process.wait(LONG)
        return self.code
