"""Wrong answers of the dynamic loader: a private copy is one that was not loaded before, or none."""

from pathlib import Path

from extensions import build, libraries

EXTENSIONS = Path(__file__).parents[1] / "extensions"

USE = """
    import sys
    import owngil
    sys.path.insert(0, sys.argv[1])

    def use():
        import numbered
        return numbered.bump()

    try:
        with owngil.Interpreter() as it:
            print(it.call(use))
    except (owngil.IsolationError, owngil.BrokenPoolError) as error:  # on Python 3.12, a worker's start needs copies
        print(" ".join(str(error).split()))
"""


def test_another_copy_is_refused(ends_cleanly, preload, tmp_path):
    libraries.compile_c(tmp_path / f"numbered{build.SUFFIX}", EXTENSIONS / "statics.c", "-DNAME=numbered")
    assert ends_cleanly(USE, str(tmp_path)) == "1\n"
    preload(Path(__file__).with_name("same_handle.c"))
    printed = ends_cleanly(USE, str(tmp_path))
    assert "the dynamic loader returned another library instead of the copy: /" in printed
