"""Warnings of workers pass the caller's filters; those that were errors at the worker's start raise in the worker."""

import sys
import warnings

import pytest
from patience import HANGS_AFTER

import owngil


class Custom(UserWarning):
    def __init__(self, text, number):
        super().__init__(text, number)
        self.number = number

    def __str__(self):
        return self.args[0]


@pytest.fixture
def worker():
    """A worker that started when no filter turned warnings into errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with owngil.Interpreter("w") as it:
            yield it


def warn(text="careful", category=UserWarning, times=1):
    for _ in range(times):
        warnings.warn(text, category)  # noqa: B028


LINE = warn.__code__.co_firstlineno + 2


def recorded(worker, action, *args, **options):
    """Return the warnings that a caller with only this filter records during the calls."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter(action, **options)
        for _ in range(2):
            worker.call(warn, *args)
    return [(entry.category, str(entry.message), entry.filename, entry.lineno) for entry in seen]


def test_a_warning_arrives_with_all_its_attributes(worker):
    expected = [(UserWarning, "careful", __file__, LINE)] * 2
    assert recorded(worker, "always") == expected


def test_the_callers_filters_decide(worker):
    assert recorded(worker, "ignore") == []
    assert len(recorded(worker, "default")) == 1
    assert len(recorded(worker, "once")) == 1
    assert len(recorded(worker, "module")) == 1
    assert len(recorded(worker, "always", "x", UserWarning, 3)) == 6
    assert len(recorded(worker, "default", "x", UserWarning, 3)) == 1
    assert recorded(worker, "ignore", "x", DeprecationWarning, category=DeprecationWarning) == []
    assert len(recorded(worker, "always", "x", DeprecationWarning)) == 2


def test_filters_by_message_and_module(worker):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message="not this")
        worker.call(warn, "not this one")
        worker.call(warn, "this one")
        warnings.filterwarnings("ignore", module=__name__.replace(".", r"\."))
        worker.call(warn, "this one neither")
    assert [str(entry.message) for entry in seen] == ["this one"]


def test_pytest_sees_warnings_of_workers(worker):
    with pytest.warns(UserWarning, match="careful"):
        worker.call(warn)
    with pytest.warns(DeprecationWarning, match="old"), owngil.Pool(1) as pool:
        pool.submit(warn, "old", DeprecationWarning).result()


def test_a_module_that_the_caller_has_not_imported(worker, tmp_path, monkeypatch):
    (tmp_path / "warns_at_import.py").write_text("import warnings\nwarnings.warn('imported')\n")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        worker.exec("import sys; sys.path.insert(0, path); import warns_at_import", path=str(tmp_path))
    assert [(str(entry.message), entry.lineno) for entry in seen] == [("imported", 2)]
    assert "warns_at_import" not in sys.modules


def test_a_custom_warning_keeps_its_type_and_attributes(worker):
    def work():
        warnings.warn(Custom("careful", 5))  # noqa: B028

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        worker.call(work)
        # A warning that the caller cannot rebuild, because its class exists in the worker only.
        worker.exec("""
            import warnings
            class Own(UserWarning):
                def __reduce__(self):
                    return int, ("no number",)
            warnings.warn(Own("own"))
        """)
    assert [type(entry.message) for entry in seen] == [Custom, UserWarning]
    assert (str(seen[0].message), seen[0].message.number) == ("careful", 5)
    assert str(seen[1].message) == "Own: own"


def test_warnings_of_c_code_arrive(worker):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        worker.exec("import numpy as np; np.float64(1) / np.zeros(1)")
    assert [(entry.category, str(entry.message)) for entry in seen] == [
        (RuntimeWarning, "divide by zero encountered in divide")
    ]


def test_a_warning_in_a_loop_is_sent_a_hundred_times(worker):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        worker.call(warn, "x", UserWarning, 5000)
        assert len(seen) == 100
        worker.call(warn, "x", UserWarning, 5)
    assert len(seen) == 105


# Errors


def test_an_error_filter_at_the_workers_start_raises_the_warning_in_the_task():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.filterwarnings("error", "bad.*")
        warnings.simplefilter("error", DeprecationWarning)
        with owngil.Interpreter() as it:
            with pytest.raises(UserWarning, match="bad one"):
                it.call(warn, "bad one")
            with pytest.raises(DeprecationWarning, match="old"):
                it.call(warn, "old", DeprecationWarning)
            with pytest.warns(UserWarning, match="a good one"):
                it.call(warn, "a good one")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with pytest.raises(DeprecationWarning, match="old"):  # the filter of its worker
                    it.call(warn, "old", DeprecationWarning)


def test_a_later_error_filter_shows_the_warning(worker, capsys):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("error")
        assert worker.call(warn) is None
    assert [(entry.category, str(entry.message), entry.lineno) for entry in seen] == [(UserWarning, "careful", LINE)]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "variable", "expected"),
    [
        ([], "", "UserWarning: user\n"),
        (["-Werror"], "", "raised user\nraised old\n"),
        ([], "error::DeprecationWarning", "UserWarning: user\nraised old\n"),
        (["-Walways"], "", "UserWarning: user\nDeprecationWarning: old\n"),
        (["-Wignore"], "", ""),
    ],
)
def test_options_of_the_command_line_are_in_effect(tmp_path, options, variable, expected):
    import os
    import subprocess

    (tmp_path / "warns.py").write_text(
        "import warnings\n\ndef warn(text, category):\n    warnings.warn(text, category)\n"
    )
    program = tmp_path / "program.py"
    program.write_text("""
import owngil, warns
with owngil.Interpreter() as it:
    for text, category in (("user", UserWarning), ("old", DeprecationWarning)):
        try:
            it.call(warns.warn, text, category)
        except Warning as error:
            print("raised", error)
""")
    done = subprocess.run(
        [sys.executable, *options, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=HANGS_AFTER,
        env={**os.environ, "PYTHONWARNINGS": variable},
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("  ")]
    assert "".join(f"{line.partition('warns.py:4: ')[2] or line}\n" for line in lines) == expected


# Tasks with filters of their own


def test_a_warning_that_a_task_catches_or_ignores_is_not_sent(worker):
    def work():
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            warnings.warn("caught")  # noqa: B028
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.warn("ignored")  # noqa: B028
        return [str(entry.message) for entry in seen]

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert worker.call(work) == ["caught"]
    assert seen == []


def test_a_warning_of_a_nested_worker_arrives_at_the_outermost_caller(worker):
    def nest():
        with owngil.Interpreter() as it:
            it.call(warn, "deep")

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        worker.call(nest)
    assert [str(entry.message) for entry in seen] == ["deep"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="context_aware_warnings came with Python 3.14")
def test_filters_of_the_submitters_context_apply(tmp_path):
    import subprocess

    program = tmp_path / "program.py"
    program.write_text("""
import warnings, threading, owngil

def work(text):
    import warnings
    warnings.warn(text)

with owngil.Pool(2) as pool:
    pool.submit(abs, 1).result()

    def caller(text, found):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            for _ in range(50):
                pool.submit(work, text).result()
            list(pool.map(work, [text] * 50))
        found[text] = {str(entry.message) for entry in seen}, len(seen)

    found = {}
    threads = [threading.Thread(target=caller, args=(text, found)) for text in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sorted(found.items()))
""")
    done = subprocess.run(
        [sys.executable, "-Xcontext_aware_warnings=1", str(program)],
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("[('a', ({'a'}, 100)), ('b', ({'b'}, 100))]\n", "")
