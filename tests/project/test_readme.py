"""The programs in the README print the output below them."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
WORKERS = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()
STOPPING = (Path(__file__).parents[2] / "docs" / "stopping.md").read_text()
COMING_FROM = (Path(__file__).parents[2] / "docs" / "coming_from.md").read_text()


def programs_of(text):
    return re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", text, re.DOTALL)


PROGRAMS = programs_of(README)


@pytest.mark.parametrize(("program", "output"), PROGRAMS, ids=["pool", "channel", "shared"])
def test_program(program, output):
    source = program if "import owngil" in program else "import owngil\n" + program
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, output, "")


@pytest.mark.parametrize(("program", "output"), programs_of(WORKERS))
def test_program_of_docs_workers(program, output):
    test_program(program, output)


@pytest.mark.parametrize(("program", "output"), programs_of(STOPPING))
def test_program_of_docs_stopping(program, output):
    test_program(program, output)


@pytest.mark.parametrize(("program", "output"), programs_of(COMING_FROM))
def test_program_of_docs_coming_from(program, output):
    assert "import owngil" in program or "from owngil import" in program
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, output, "")


def test_every_program_of_docs_coming_from_has_its_output():
    assert len(programs_of(COMING_FROM)) == COMING_FROM.count("```python\n")


@pytest.mark.parametrize("name", ["executors", "picture", "steps"])
def test_figures_are_those_of_the_results(name, monkeypatch):
    path = Path(__file__).parents[2] / "benchmarks" / "readme.py"
    monkeypatch.syspath_prepend(path.parent)
    spec = importlib.util.spec_from_file_location("benchmarks_readme", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    as_it_is, as_it_should_be = module.written(name)
    assert as_it_is == as_it_should_be


def test_links_lead_somewhere():
    root = Path(__file__).parents[2]
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (root / target).exists(), target
