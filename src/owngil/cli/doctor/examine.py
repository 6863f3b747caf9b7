"""Finds out whether a package works in several workers, by child processes that import it; see `probe`.

The first child imports it in two workers at once, then in a further one, for the memory. Only if that fails, a second
one imports it in the main interpreter: what fails there too is not owngil's doing. After a crash, a third tells whether
one worker alone would do.
"""

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from owngil.cli.ctrl_c import DeferredCtrlC
from owngil.cli.doctor.packages import Package
from owngil.cli.doctor.probe import HUNG

__all__ = ["Result", "examine"]

_START = "import json, sys; request = json.load(sys.stdin); sys.path[:] = request['path'];\
 from owngil.cli.doctor.probe import main; main(request)"
_GRACE = 5.0  # seconds after its time is up in which a child shows its stacks
_ELSEWHERE = "Use it in the main interpreter, or in a process of its own."
_STEPS = {
    "start": "while the workers started",
    "import": "while it was being imported in two workers at once",
    "memory": "while it was being imported in a further worker",
    "close": "while the workers closed",
    "exit": "at the end of the process",
}


@dataclass
class Result:
    """What is known of a package; the fields are the keys of ``owngil doctor --json``, described in docs/doctor.md."""

    package: str
    version: str | None
    verdict: str = "ok"
    reason: str | None = None
    advice: str | None = None
    notes: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    extension_modules: list[dict[str, Any]] = field(default_factory=list)
    libraries: list[dict[str, Any]] = field(default_factory=list)
    lasting_threads: list[str] = field(default_factory=list)
    memory_import: int | None = None
    memory_all: int | None = None
    seconds: float | None = None
    failures: list[dict[str, Any]] = field(default_factory=list)
    signal: str | None = None
    last_modules: list[str] = field(default_factory=list)
    stacks: str = ""
    output: str = ""

    @property
    def failed(self) -> bool:
        """Whether owngil cannot run it: what does not work without owngil either does not count."""
        return self.verdict in ("fails", "crashes", "hangs")


@dataclass
class _Outcome:
    """What a child process told before it ended."""

    code: int = 0  # as subprocess has it: minus the signal
    hung: bool = False
    phase: str = "start"
    doing: dict[int, list[str]] = field(default_factory=dict)  # modules under way, by worker
    threads: dict[int, int] = field(default_factory=dict)  # worker by thread
    workers: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    living: list[str] = field(default_factory=list)  # libraries of which threads outlived their workers
    stacks: str = ""
    output: str = ""

    def hear(self, event: dict[str, Any]) -> None:
        match event:
            case {"phase": phase}:
                self.phase = phase
            case {"begin": module, "worker": worker}:
                self.doing.setdefault(worker, []).append(module)
            case {"end": _, "worker": worker}:
                self.doing[worker].pop()
            case {"thread": thread, "worker": worker}:
                self.threads[thread] = worker
            case {"workers": workers}:
                self.workers = workers
            case {"memory_import": _}:
                self.memory = event
            case {"living": libraries}:
                self.living = libraries
            case {"hung": workers}:
                self.hung = True
                self.doing = {worker: self.doing.get(worker, []) for worker in workers}

    @property
    def finished(self) -> bool:
        return self.code == 0 and not self.hung and self.phase == "exit"

    @property
    def last_modules(self) -> list[str]:
        """The modules under way at the end, without repetition; of a crash, the one of the thread that crashed."""
        crashed = re.search(r"^(?:Current thread|Thread) 0x([0-9a-f]+)", self.stacks, re.MULTILINE)
        worker = None if crashed is None or self.hung else self.threads.get(int(crashed[1], 16))
        stacks = [self.doing[worker]] if worker is not None and self.doing.get(worker) else self.doing.values()
        return list(dict.fromkeys(modules[-1] for modules in stacks if modules))


def _watch(pid: int, fd: int) -> None:
    """Close `fd` when a child process has ended, and leave it to others to be waited for."""
    with contextlib.suppress(ChildProcessError):  # others did
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    os.close(fd)


class _Child:
    """A child process at work: a group of its own, ended with all that it started when the block is left."""

    def __init__(self, package: Package, workers: int, timeout: float) -> None:
        self._limit = time.monotonic() + timeout + _GRACE
        self._outcome = _Outcome()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._stacks = tempfile.TemporaryFile()  # noqa: SIM115
        self._report, report = os.pipe()
        os.set_blocking(self._report, False)
        request = {
            "path": [entry for entry in sys.path if isinstance(entry, str)],
            "report": report, "stacks": self._stacks.fileno(), "timeout": timeout,
            "workers": workers, "imports": package.imports, "extensions": package.extensions,
        }  # fmt: skip
        try:
            with tempfile.TemporaryFile() as file:
                file.write(json.dumps(request).encode())
                file.seek(0)
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _START],
                    stdin=file,
                    stdout=self._output,
                    stderr=self._output,
                    pass_fds=(report, self._stacks.fileno()),
                    start_new_session=True,  # Ctrl-C is for the parent, which ends the group
                )
        finally:
            os.close(report)
        self._ended, ended = os.pipe()
        self._watcher = threading.Thread(target=_watch, args=(self._process.pid, ended))
        self._watcher.start()

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *error: object) -> None:
        self._end()
        self._watcher.join()
        for fd in (self._report, self._ended):
            os.close(fd)
        self._output.close()
        self._stacks.close()

    def _end(self) -> int:
        """End the process and what it has started; return its exit code."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
        return self._process.wait()

    def follow(self) -> _Outcome:
        """Listen until the process ends, or has had its time."""
        outcome, rest = self._outcome, b""
        with selectors.DefaultSelector() as selector:
            for fd in (self._report, self._ended):
                selector.register(fd, selectors.EVENT_READ)
            while True:
                # The pipe's end is not the process's: what the package started may hold it.
                ready = {key.fd for key, _ in selector.select(max(0.0, self._limit - time.monotonic()))}
                with contextlib.suppress(BlockingIOError):
                    while data := os.read(self._report, 1 << 16):
                        *lines, rest = (rest + data).split(b"\n")
                        for line in lines:
                            outcome.hear(json.loads(line))
                    if self._report in ready:
                        selector.unregister(self._report)  # closed
                if self._ended in ready:
                    outcome.code = self._end()
                    break
                if not ready:
                    outcome.hung = True
                    break
        outcome.stacks = self._text(self._stacks)
        outcome.output = self._text(self._output)
        outcome.hung = outcome.hung or outcome.code == HUNG or outcome.stacks.startswith("Timeout (")
        return outcome

    @staticmethod
    def _text(file: Any) -> str:
        file.seek(0)
        text: str = file.read().decode(errors="replace")
        return text


def _run(package: Package, workers: int, timeout: float) -> _Outcome:
    # An interrupt in between would leave the process running.
    with DeferredCtrlC() as ctrl_c, _Child(package, workers, timeout) as child:
        ctrl_c.let_in()
        return child.follow()


def _comparable(message: str) -> str:
    """Return an error message without what differs each time: addresses."""
    return re.sub(r"0x[0-9a-f]+", "0x", message)


def _list(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _short(failure: dict[str, Any]) -> str:
    """Return a failure's error in a few words."""
    message = textwrap.shorten(failure["message"].rstrip("."), 120, placeholder=" ...")
    return f"{failure['error'].rpartition('.')[2]}: {message}"


def _merge(outcome: _Outcome, result: Result) -> None:
    """Take over what two workers said; they say the same, but for failures in one of them."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for number, worker in enumerate(outcome.workers, 1):
        for failure in worker["failures"]:
            key = failure["module"], failure["error"], _comparable(failure["message"])
            found.setdefault(key, {**failure, "workers": [], "in_main": None})["workers"].append(number)
    result.failures = list(found.values())
    if outcome.workers:
        first = outcome.workers[0]
        result.extension_modules, result.libraries = first["extension_modules"], first["libraries"]
        result.seconds = round(max(worker["seconds"] for worker in outcome.workers), 3)
    result.memory_import = outcome.memory.get("memory_import")
    result.memory_all = outcome.memory.get("memory_all")
    result.lasting_threads = outcome.living
    if outcome.living:
        names = _list([os.path.basename(path) for path in outcome.living])
        result.notes.append(f"A thread of {names} goes on when its worker is closed: the worker's memory stays.")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _explain_end(outcome: _Outcome, result: Result) -> None:
    """Say how a child process ended that did not get to its end."""
    result.last_modules = outcome.last_modules
    during = f" {_STEPS[outcome.phase]}"
    if result.last_modules:
        during += f"; the last module was {_list(result.last_modules)}"
    if outcome.hung:
        result.verdict = "hangs"
        result.reason = f"It was not done in time{during}."
        return
    result.verdict = "crashes"
    if outcome.code < 0:
        result.signal = signal.Signals(-outcome.code).name
        result.reason = f"{result.signal} ({signal.strsignal(-outcome.code)}){during}."
    else:
        result.reason = f"The process ended with exit code {outcome.code}{during}."
    said = _last_line(outcome.output)
    if said:
        result.reason += f" It said: {said}"


def _advise_end(package: Package, timeout: float, result: Result) -> None:
    """Find out what else would work."""
    main = _run(package, 0, timeout)
    if not main.finished:
        same = main.hung if result.verdict == "hangs" else main.code == _code(result)
        what = "hangs" if main.hung else "crashes"
        result.notes.append(f"It {'also ' if same else ''}{what} in the main interpreter.")
        if same:
            result.verdict = "broken"
            result.advice = "Mend its installation: this is not about owngil."
        else:
            result.advice = _ELSEWHERE
        return
    result.advice = _ELSEWHERE
    if result.verdict == "crashes":
        alone = _run(package, 1, timeout)
        if alone.finished:
            result.notes.append("It works in one worker at a time.")
            result.advice = "Use it in one worker only, in the main interpreter, or in a process of its own."
        elif alone.stacks:
            result.stacks = alone.stacks  # two workers that crash at once cut each other's short


def _code(result: Result) -> int | None:
    return None if result.signal is None else -signal.Signals[result.signal]


def _explain_failures(package: Package, timeout: float, result: Result) -> None:
    """Say what could not be imported, and what of it cannot be imported without owngil either."""
    main = _run(package, 0, timeout)
    there = {failure["module"]: failure for worker in main.workers for failure in worker["failures"]}
    groups: dict[str, list[str]] = {}
    for failure in result.failures:
        same = there.get(failure["module"])
        # The loader's words about a missing library are in the middle of an IsolationError's.
        failure["in_main"] = same is not None and _comparable(same["message"]) in _comparable(failure["message"])
        if same is not None and failure["in_main"]:
            groups.setdefault(_short(same), []).append(failure["module"])
    for about, modules in groups.items():
        verb = "fails" if len(modules) == 1 else "fail"
        result.notes.append(f"{_list(modules)} also {verb} in the main interpreter ({about}).")
    ours = [failure for failure in result.failures if not failure["in_main"]]
    if not ours:
        if {failure["module"] for failure in result.failures}.issuperset(package.imports):
            result.verdict = "broken"
            result.reason = "It cannot be imported in the main interpreter either."
            result.advice = "Mend its installation: this is not about owngil."
        return
    # What is refused for a reason, and is not what everybody imports, leaves the rest usable.
    partly = all(failure["refused"] and failure["module"] not in package.imports for failure in ours)
    first = ours[0]
    about = first["refused"] or f"{first['error'].rpartition('.')[2]}: {first['message']}"
    result.verdict = "partly" if partly else "fails"
    result.reason = f"{first['module']}: {about}"
    if len(first["workers"]) < 2:
        result.reason += f" (in worker {first['workers'][0]} only)"
    if len(ours) > 1:
        result.notes.append(f"Fail as well: {_list([failure['module'] for failure in ours[1:]])}.")
    if "main interpreter" not in about:
        result.advice = _ELSEWHERE


def examine(package: Package, timeout: float) -> Result:
    """Return what becomes of a package in several workers.

    Parameters
    ----------
    package : Package
        What to import.
    timeout : float
        Seconds for each child process.
    """
    result = Result(package.name, package.version, imports=list(package.imports))
    outcome = _run(package, 2, timeout)
    _merge(outcome, result)
    for module in result.extension_modules:
        module["own"] = any(module["path"] == path or module["path"].startswith(path + os.sep)
                            for path in package.folders)  # fmt: skip
    result.stacks, result.output = outcome.stacks, outcome.output
    if not outcome.finished:
        _explain_end(outcome, result)
        for failure in result.failures:
            result.notes.append(f"Before that, {failure['module']} failed: {_short(failure)}.")
        _advise_end(package, timeout, result)
    elif result.failures:
        _explain_failures(package, timeout, result)
    return result
