"""A module that sends its own functions to workers while it is imported: they would import it, without an end."""

import sys

import pytest

CALLS = {
    "submit": "owngil.run(f, 1)",
    "map": "list(owngil.map(f, range(3)))",
    "keywords": "owngil.run(f, x=1)",
    "array": "owngil.run(f, bytearray(10))",
    "interpreter": "owngil.Interpreter().call(f, 1)",
    "class": "owngil.run(C)",
}


LATER = """
import owngil

def f(x):
    return x + 1

def call():
    with owngil.Pool(1) as pool:
        return pool.submit(f, 1).result()
"""


def write(folder, name, source):
    path = folder.joinpath(*name.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("unfinished"):
            del sys.modules[name]


@pytest.mark.parametrize("call", list(CALLS))
def test_a_module_that_calls_its_own_function_while_it_is_imported(folder, call):
    name = f"unfinished_{call}"
    write(folder, name, f"import owngil\n\ndef f(x):\n    return x\n\nclass C:\n    pass\n\n{CALLS[call]}\n")
    with pytest.raises(RuntimeError, match=f"{name} cannot be sent to a worker while {name} is being imported"):
        __import__(name)


def test_a_package_that_calls_a_function_of_its_module(folder):
    write(folder, "unfinished.inner", "def f(x):\n    return x\n")
    write(folder, "unfinished.__init__", "import owngil\nfrom unfinished.inner import f\nowngil.run(f, 1)\n")
    with pytest.raises(RuntimeError, match=r"unfinished\.inner cannot be sent .* while unfinished is being imported"):
        import unfinished  # noqa: F401


def test_functions_of_other_modules_may_be_called_meanwhile(folder):
    write(folder, "unfinished_other", "import owngil\nfrom json import dumps\nvalue = owngil.run(dumps, [1])\n")
    import unfinished_other

    assert unfinished_other.value == "[1]"


def test_the_module_can_be_used_when_its_import_is_over(folder):
    write(folder, "unfinished_later", LATER)
    import unfinished_later

    assert unfinished_later.call() == 2
