"""A real notebook: workers' output, records and errors appear in the cell that waits, and kernels stop in time."""

import functools
import re
import textwrap
import time

import pytest
from patience import HANGS_AFTER

pytest.importorskip("ipykernel", reason="a notebook's kernel needs ipykernel, and that pyzmq, for this Python")
nbformat = pytest.importorskip("nbformat", reason="notebooks need nbformat")
nbclient = pytest.importorskip("nbclient", reason="notebooks are run by nbclient")
jupyter_client = pytest.importorskip("jupyter_client", reason="kernels are started by jupyter_client")

# Warnings of Jupyter's own packages are not owngil's to fix.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _own_directories(tmp_path, monkeypatch):
    """Give Jupyter and IPython folders of their own to write to."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def outputs(cell):
    """Return a cell's output: {stream or kind: text}."""
    shown = {}
    for output in cell.outputs:
        if output.output_type == "stream":
            shown[output.name] = shown.get(output.name, "") + output.text
        elif output.output_type == "error":
            shown["error"] = plain("\n".join(output.traceback))
        else:
            shown["result"] = output.data["text/plain"]
    return shown


def run(*sources):
    """Run a notebook and return the output of each cell."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", allow_errors=True).execute()
    return [outputs(cell) for cell in notebook.cells]


def test_a_notebook():
    cells = {
        "start": "import logging, sys, warnings, owngil\npool = owngil.Pool(2)\npool.submit(abs, -1).result()",
        "a lambda": "sum(pool.map(lambda x: x * x, range(10)))",
        "output": """
            def talk(n):
                print("out", n)
                print("err", n, file=sys.stderr)
            list(pool.map(talk, range(2), chunksize=1))
            print("end")""",
        "output of the next cell": "pool.submit(talk, 7).result()",
        "submitted here": """
            go = owngil.Channel()
            def wait(go):
                go.recv()
                print("late")
            future = pool.submit(wait, go)""",
        "read here": "go.send(1)\nfuture.result()",
        "logging": """
            logging.basicConfig(
                level=logging.INFO,
                format="%(levelname)s %(name)s %(threadName)s %(message)s",
                stream=sys.stdout,
                force=True,
            )
            pool.submit(lambda: logging.getLogger("a.b").info("hello %d", 5)).result()""",
        "warnings": """
            def warn():
                warnings.warn("careful")
            pool.submit(warn).result()""",
        "progress": "sum(pool.map(lambda x: x, range(10), progress=True))",
        "redefined": """
            def f(): return 1
            first = pool.submit(f).result()
            def f(): return 2
            first, pool.submit(f).result()""",
        "redefined in another cell": "def f(): return 3\npool.submit(f).result()",
        "a global": "def g(): return factor\nfactor = 5\npool.submit(g).result()",
        "the global changed": "factor = 6\npool.submit(g).result()",
        "an error": """
            def divide(x, y):
                return x / y  # the line
            pool.submit(divide, 1, 0).result()""",
        "an error in a map": "list(pool.map(lambda x: 1 / x, [1, 0]))",
        "the end": "pool.shutdown()",
    }
    sources = [textwrap.dedent(source).strip() for source in cells.values()]
    shown = dict(zip(cells, run(*sources), strict=True))
    assert shown["start"] == {"result": "1"}
    assert shown["a lambda"] == {"result": "285"}
    assert sorted(shown["output"]["stdout"].splitlines()) == ["end", "out 0", "out 1"]
    assert sorted(shown["output"]["stderr"].splitlines()) == ["err 0", "err 1"]
    assert shown["output of the next cell"] == {"stdout": "out 7\n", "stderr": "err 7\n"}
    assert (shown["submitted here"], shown["read here"]) == ({}, {"stdout": "late\n"})
    assert re.fullmatch(r"INFO a\.b pool-1-[01] hello 5\n", shown["logging"]["stdout"])
    assert re.search(r"^\S*:2: UserWarning: careful\n  warnings.warn\(\"careful\"\)\n", shown["warnings"]["stderr"])
    assert shown["progress"]["result"] == "45"
    assert "10/10" in shown["progress"]["stderr"]
    assert shown["redefined"] == {"result": "(1, 2)"}
    assert shown["redefined in another cell"] == {"result": "3"}
    assert (shown["a global"], shown["the global changed"]) == ({"result": "5"}, {"result": "6"})
    error = shown["an error"]["error"]
    assert re.search(r"In worker 'pool-1-[01]', calling divide\(1, 0\):\nTraceback", error)
    assert re.search(r'File ".*", line 2, in divide\n    return x / y  # the line\nZeroDivisionError', error)
    assert "pool.submit(divide, 1, 0).result()" in error
    error = shown["an error in a map"]["error"]
    assert "calling <lambda>(0):\n" in error
    assert re.search(r"line 1, in <lambda>\n    list\(pool.map\(lambda x: 1 / x, \[1, 0\]\)\)\n", error)
    assert shown["the end"] == {}


class Kernel:
    """A kernel, and a client that uses it as a notebook in a browser does."""

    def __init__(self):
        self.manager, self.client = jupyter_client.manager.start_new_kernel(startup_timeout=HANGS_AFTER)

    def messages(self, execution):
        """Yield the output of an execution, until it has ended."""
        deadline = time.monotonic() + 300
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            if message["parent_header"].get("msg_id") == execution:
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    return
                yield message["msg_type"], message["content"]

    def run(self, source, on_text=None):
        """Run a cell and return its output; call `on_text` with each text that is printed."""
        shown = {}
        for kind, content in self.messages(self.client.execute(source)):
            if kind == "stream":
                shown[content["name"]] = shown.get(content["name"], "") + content["text"]
                if on_text is not None:
                    on_text(content["text"])
            elif kind == "error":
                shown["error"] = content["ename"]
            elif kind == "execute_result":
                shown["result"] = content["data"]["text/plain"]
        return shown

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel():
    kernel = Kernel()
    yield kernel
    kernel.close()


SPIN = """
import linecache, sys, threading, time
import owngil
pool = owngil.Pool(2)
it = owngil.Interpreter()
ended = owngil.Channel()

def spin(ended):
    try:
        print("running")
        while True:
            pass
    finally:
        ended.send("interrupted")

def say_when_main_waits():
    def watch():
        while True:
            frame = sys._current_frames()[threading.main_thread().ident]
            if "await_answer(" in linecache.getline(frame.f_code.co_filename, frame.f_lineno):
                return sys.stdout.write("waiting\\n")
            time.sleep(0.001)

    threading.Thread(target=watch).start()
"""


def test_an_interrupt_while_a_cell_waits(kernel):
    assert kernel.run(SPIN) == {}
    for wait in WAITS:
        texts = []

        def interrupt(text, texts=texts):
            # A task may run before the cell waits for it. An interrupt that early does not stop it.
            texts.append(text)
            if "".join(texts).count("\n") == 2:
                kernel.manager.interrupt_kernel()

        shown = kernel.run(f"say_when_main_waits()\n{wait}", interrupt)
        lines = sorted(re.findall("running|waiting", shown["stdout"]))
        assert (lines, shown["error"]) == (["running", "waiting"], "KeyboardInterrupt"), wait
        assert kernel.run("ended.recv(300)") == {"result": "'interrupted'"}, wait
        assert kernel.run("print(pool.submit(abs, -1).result(), it.call(abs, -2))") == {"stdout": "1 2\n"}


WAITS = [
    "it.call(spin, ended)",
    "pool.submit(spin, ended).result()",
    "list(pool.map(spin, [ended]))",
    "owngil.run(spin, ended)",
]


async def _tell(signals, way, really, **options):
    signals.append(way)
    await really(**options)


@pytest.mark.parametrize("waits", [False, True])
def test_a_restart_with_running_work_is_prompt(kernel, monkeypatch, waits):
    kernel.run(SPIN)
    running = kernel.client.execute(
        "futures = [pool.submit(spin, ended) for _ in range(5)]" + ("\nfutures[0].result()" if waits else "")
    )
    texts = []
    while sum(text.count("running") for text in texts) < 2:
        message = kernel.client.get_iopub_msg(timeout=300)
        if message["msg_type"] == "stream":
            texts.append(message["content"]["text"])
    assert running
    # The kernel must end by itself: the manager sends a signal after half of this time, and then the test fails.
    kernel.manager.shutdown_wait_time = 2.0 * HANGS_AFTER
    signals = []
    provisioner = kernel.manager.provisioner
    for way in ("terminate", "kill"):
        monkeypatch.setattr(provisioner, way, functools.partial(_tell, signals, way, getattr(provisioner, way)))
    kernel.manager.restart_kernel()
    assert signals == []
    monkeypatch.undo()
    kernel.client.wait_for_ready(timeout=300)
    assert kernel.run("1 + 1") == {"result": "2"}
