"""The programs in examples/ run unchanged and print the output that they promise."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *arguments, cwd):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("1_hello.py", "Hello, sub-interpreters\n"),
        ("2_data_in.py", "Hello, sub-interpreters\nHello, Den3\nAda, Grace, {'name': 'Barbara'}\n"),
        ("3_results_back.py", "input:2\ninput:3\n4\n9\n16\n"),
    ],
)
def test_an_example_prints_its_output(name, output, tmp_path):
    assert run(name, cwd=tmp_path) == output


def test_the_picture(tmp_path):
    from PIL import Image

    assert run("4_mandelbrot.py", "set.png", cwd=tmp_path) == "set.png (400, 400)\n"
    with Image.open(tmp_path / "set.png") as image:
        assert image.size == (640, 480)
        assert len(image.convert("RGB").getcolors(maxcolors=1 << 20)) > 50


def test_every_example_is_tested():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == [
        "1_hello.py",
        "2_data_in.py",
        "3_results_back.py",
        "4_mandelbrot.py",
        "5_timeline.py",
    ]


def test_docstring_examples(tmp_path):
    """The examples in public docstrings run in a process of their own, because they leave workers behind."""
    code = """
import doctest, importlib, sys, owngil
results = [
    doctest.testmod(module, extraglobs={"owngil": owngil})
    for name in ("channel", "default_pool", "executor", "interpreter", "pool", "shared_arrays", "sync", "trace",
                 "track", "worker_local")
    for module in [importlib.import_module(f"owngil._api.{name}")]
]
sys.exit(any(r.failed for r in results) or not all(r.attempted for r in results))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_timeline(tmp_path):
    assert run("5_timeline.py", cwd=tmp_path).startswith("pi is about 3.14; 160 curves; ValueError\nworker ")
    events = json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    assert {"simulate()", "smooth()"} <= {event["name"] for event in events}
