"""Objects that all interpreters share survive modules for the stable ABI before Python 3.12."""

import sys
from pathlib import Path

import pytest
from extensions import build, libraries

SOURCE = Path(__file__).parents[1] / "extensions" / "old_counts.c"


def test_plain_changes_of_shared_counts_free_nothing(tmp_path, ends_cleanly):
    """Without owngil's protection, about half of the runs on 3.12 and 3.13 end with "free(): invalid pointer"."""
    libraries.compile_c(tmp_path / f"old_counts{build.SUFFIX}", SOURCE)
    out = ends_cleanly("""
        import sys
        import owngil

        SHARED = (None, True, 0, 1, 7, "", "a", b"", b"x", int, str, ValueError, ())

        def hammer(shared, times):
            import old_counts
            old_counts.hammer(shared, times)

        def use(times):
            for k in range(times):
                v = (0, 1)
                names = {v[1]: (v[0], None), "a": 7}
                items = [None, True, 1, 7, int, str, ValueError, ()] * 3
                del names, items

        workers = [owngil.Interpreter() for _ in range(4)]
        calls = [(hammer, SHARED, 2_000_000), (use, 400_000)] * 2
        futures = [worker.submit(*call) for worker, call in zip(workers, calls)]
        use(300_000)
        for future in futures:
            future.result()
        for worker in workers:
            worker.close()
        print(all(sys.getrefcount(item) > 1000 for item in SHARED[:4]))
    """)
    assert out == "True\n"


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="since 3.14, CPython's own counts are far from zero")
def test_counts_that_a_module_has_changed_before_are_protected_too(tmp_path, ends_cleanly):
    libraries.compile_c(tmp_path / f"old_counts{build.SUFFIX}", SOURCE)
    out = ends_cleanly("""
        import sys
        import old_counts

        changed = {None: 3, True: -3, 7: 1000, (): 1}
        for item, change in changed.items():
            old_counts.add(item, change)

        import owngil

        with owngil.Interpreter() as worker:
            worker.call(abs, 1)
        print(all(sys.getrefcount(item) > 1 << 40 for item in changed))
    """)
    assert out == "True\n"
