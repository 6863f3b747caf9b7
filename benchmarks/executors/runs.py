"""Run the measures of an executor in a process of its own; after a crash or a hang, a new process does the rest."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executors.measures import MEASURES
from owngil.cli.ctrl_c import DeferredCtrlC

__all__ = ["ALONE", "Run", "measure"]

_START = "import json, sys; request = json.load(sys.stdin); sys.path[:] = request['path'];\
 from executors.measures import main; main(request)"


@dataclass
class Run:
    """The results of one repetition.

    Attributes
    ----------
    figures : dict of str and float
    failed, nothing : dict of str and str
        Why a measure has no figures: an error; the executor lacks the feature.
    """

    figures: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    nothing: dict[str, str] = field(default_factory=dict)

    def hear(self, event: dict[str, Any]) -> None:
        """Record an event that a process reports."""
        self.figures |= event["figures"]
        for name, reasons in (("failed", self.failed), ("nothing", self.nothing)):
            if name in event:
                reasons[event["measure"]] = event[name]


# The folder of the tasks goes into the environment, because not every executor hands on sys.path.
ALONE = str(Path(__file__).with_name("alone"))


class _Process:
    """A process that measures, in a group of its own. Leaving the block ends it and all processes that it started."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.output = tempfile.TemporaryFile()  # noqa: SIM115
        self._report, report = os.pipe()
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps({**request, "path": [ALONE, *filter(_is_text, sys.path)], "report": report}).encode())
            file.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START],
                stdin=file,
                stdout=self.output,
                stderr=self.output,
                pass_fds=(report,),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [ALONE, os.environ.get("PYTHONPATH")]))},
                start_new_session=True,  # Ctrl-C is for the parent, which ends the group
            )
        os.close(report)
        self._rest = b""

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # also the processes that it left running
        self._process.wait()
        os.close(self._report)
        self.output.close()

    def events(self, timeout: float) -> list[dict[str, Any]] | None:
        """Wait for an event of the process. Return None when it has ended; raise TimeoutError if it takes longer."""
        limit = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._report, selectors.EVENT_READ)
            while selector.select(max(0.0, limit - time.monotonic())):
                data = os.read(self._report, 1 << 16)
                if not data:
                    return None
                *lines, self._rest = (self._rest + data).split(b"\n")
                if lines:
                    return [json.loads(line) for line in lines]
        raise TimeoutError(f"not done within {timeout:g} s")

    def end(self) -> str:
        """Return how the process ended, and the last line of its output."""
        code = self._process.wait()
        self.output.seek(0)
        said = [line for line in self.output.read().decode(errors="replace").splitlines() if line.strip()]
        how = f"the process crashed: {signal.Signals(-code).name}" if code < 0 else f"the process exited with {code}"
        return f"{how}{f'; it said: {said[-1].strip()}' if said else ''}"


def _is_text(entry: object) -> bool:
    return isinstance(entry, str)


def measure(executor: str, workers: int, measures: list[str], settings: dict[str, Any], timeout: float) -> Run:
    """Measure an executor once.

    Parameters
    ----------
    executor : str
        One of `executors.EXECUTORS`.
    workers : int
        The number of workers.
    measures : list of str
        Names in `MEASURES`.
    settings : dict
        ``sizes``: megabytes of arrays, ints. ``scaling``: numbers of workers.
    timeout : float
        Seconds for each measure.
    """
    run = Run()
    left = [name for name in MEASURES if name in measures]
    while left:
        request = {"executor": executor, "workers": workers, "measures": left, "settings": settings}
        doing = left[0]
        # An interrupt in between would leave the process running.
        with DeferredCtrlC() as ctrl_c, _Process(request) as process:
            ctrl_c.let_in()
            try:
                while (events := process.events(timeout)) is not None:
                    for event in events:
                        if "begin" in event:
                            doing = event["begin"]
                        else:
                            run.hear(event)
                            doing = ""
                if not doing:
                    break
                run.failed[doing] = process.end()
            except TimeoutError as error:
                run.failed[doing] = str(error)
        # Leave out the measure in which the process hung or crashed; a new process does those after it.
        left = left[left.index(doing) + 1 :] if doing in left else []
    return run
