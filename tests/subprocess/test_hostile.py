"""Unusual extension modules, and interrupts and threads at the worst moment: no crash, no hang."""

import platform
from pathlib import Path

import pytest
from extensions import build, libraries

HERE = Path(__file__).parents[1] / "extensions"


def compiled(tmp_path_factory, name, *options):
    folder = tmp_path_factory.mktemp(name)
    libraries.compile_c(folder / f"{name}{build.SUFFIX}", HERE / f"{name}.c", *options)
    return str(folder)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    return compiled(tmp_path_factory, "hostile")


IMPORTS = """
    import os, sys
    import owngil
    sys.path.insert(0, sys.argv[1])
"""


def test_a_threads_last_destructors_may_use_the_interpreter(ends_cleanly, hostile):
    ends_cleanly(
        IMPORTS
        + """
    def use():
        import hostile
        hostile.drop_at_end([1, 2])

    with owngil.Interpreter() as it:
        it.call(use)
        it.call(use)
    """,
        hostile,
    )


@pytest.mark.parametrize("size", [400, 100_000, 10_000_000])
def test_a_thread_that_outlives_its_worker_keeps_its_buffer(ends_cleanly, hostile, size):
    out = ends_cleanly(
        IMPORTS
        + """
    def use(size, go, answer):
        import hostile
        hostile.read_later(b"x" * size, go, answer)

    (go, start), (result, answer) = os.pipe(), os.pipe()
    with owngil.Interpreter() as it:
        it.call(use, int(sys.argv[2]), go, answer)
    with owngil.Interpreter() as it:
        it.call(lambda: [bytes([k % 256]) * 400 for k in range(20000)])  # would take the memory if it were free
        os.write(start, b"go")
        print(os.read(result, 1).decode())
    """,
        hostile,
        str(size),
    )
    assert out == "n\n"


def test_a_timer_of_the_c_library_may_outlive_its_worker(ends_cleanly, hostile):
    """The threads that it starts may use the memory of the worker, which stays."""
    out = ends_cleanly(
        IMPORTS
        + """
    from owngil._tasks.workers import libraries_with_threads
    def use(fd):
        import hostile
        hostile.tick_into(fd)

    ticks, fd = os.pipe()
    with owngil.Interpreter() as it:
        it.call(use, fd)
        os.read(ticks, 1)
    os.set_blocking(ticks, False)
    try:
        while os.read(ticks, 1 << 16):
            pass
    except BlockingIOError:
        os.set_blocking(ticks, True)
    for _ in range(20):
        os.read(ticks, 1)
    print(*libraries_with_threads())
    """,
        hostile,
    )
    assert out.split() == [str(Path(hostile) / f"hostile{build.SUFFIX}")]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the assembly code is for x86-64")
def test_references_in_read_only_text_are_redirected_too(ends_cleanly, tmp_path_factory):
    folder = compiled(tmp_path_factory, "hostile", "-DTEXT_RELOCATION", "-Wl,-z,notext")
    ends_cleanly(
        IMPORTS
        + """
    with owngil.Pool(2) as pool:
        list(pool.map(__import__, ["hostile"] * 2, chunksize=1))
    """,
        folder,
    )


@pytest.fixture(scope="session")
def slow(tmp_path_factory):
    """Give the folder of a module whose constructors wait for a byte."""
    return compiled(tmp_path_factory, "hostile", "-DSLOW_CONSTRUCTOR")


def test_an_interrupt_during_a_load_leaves_the_copy_loaded(ends_cleanly, slow):
    out = ends_cleanly(
        IMPORTS
        + """
    (told, begun), (go, start) = os.pipe(), os.pipe()
    os.environ.update(HOSTILE_BEGUN=str(begun), HOSTILE_GO=str(go))

    def use():
        import hostile
        return hostile.__name__

    with owngil.Interpreter() as it:
        future = it.submit(use)
        os.read(told, 1)
        it.interrupt()
        os.write(start, b"go")
        try:
            print(future.result())
        except KeyboardInterrupt:
            print("interrupted")
        print(it.call(use))
        os.set_blocking(told, False)
        try:
            os.read(told, 1)
        except BlockingIOError:
            print("constructed once")
    """,
        slow,
    )
    assert out == "interrupted\nhostile\nconstructed once\n"


def test_an_interrupt_after_the_init_function_does_not_run_it_twice(ends_cleanly):
    folder = build.build("hand_single")
    out = ends_cleanly(
        IMPORTS
        + """
    def use():
        import sys
        from owngil import _core
        from owngil._isolation import import_hook

        calls = []
        create, adopt = _core.create_module, import_hook._adopt

        def count(*args):
            calls.append(args)
            return create(*args)

        def interrupted(*args):
            import_hook._adopt = adopt
            raise KeyboardInterrupt

        _core.create_module, import_hook._adopt = count, interrupted
        try:
            import by_hand_single
        except KeyboardInterrupt:
            pass
        import by_hand_single
        return len(calls), by_hand_single.bump()

    with owngil.Interpreter() as it:
        print(it.call(use))
    """,
        str(folder),
    )
    assert out == "(1, 1)\n"


def test_nothing_is_imported_under_the_loaders_lock(ends_cleanly):
    # A thread that imports that module may hold its import lock and wait for the loader's lock.
    out = ends_cleanly("""
        import owngil

        def use():
            from owngil._isolation import blas_threads, copies
            held = []
            limit = blas_threads.limit

            def watch(paths):
                held.append(copies._lock._is_owned())
                limit(paths)

            blas_threads.limit = watch
            import numpy
            return held

        with owngil.Pool(2) as pool:
            held = pool.submit(use).result()
            assert held
            print(any(held))
    """)
    assert out == "False\n"


def test_a_nested_interpreter_outlives_its_worker(ends_cleanly):
    out = ends_cleanly("""
        import owngil

        def load():
            try:
                import _interpreters as interpreters
            except ImportError:
                import _xxsubinterpreters as interpreters
            return interpreters

        def nest():
            interpreters = load()
            nested = interpreters.create()
            if hasattr(interpreters, "incref"):
                interpreters.incref(nested)
            interpreters.run_string(nested, "import json, decimal, argparse")
            nest.kept = nested  # 3.12 has no other reference
            return int(nested)

        it = owngil.Interpreter()
        nested = it.call(nest)
        if hasattr(load(), "incref"):
            it.close()
        load().run_string(nested, "print(json.dumps({'a': [1, 2]}), flush=True)")
        if hasattr(load(), "incref"):
            load().destroy(nested)
        it.close()
    """)
    assert out == '{"a": [1, 2]}\n'


def test_strings_that_cpython_keeps_for_the_process_outlive_the_worker(ends_cleanly, tmp_path_factory):
    folder = compiled(tmp_path_factory, "keywords")
    ends_cleanly(
        IMPORTS
        + """
    def use():
        import keywords
        keywords.intern()

    with owngil.Interpreter() as it:
        it.call(use)
    for k in range(20000):
        sys.intern(f"a_string_of_main_{k}")
    assert sys.intern("keyword_of_owngils_tests_5") == "keyword_of_owngils_tests_5"
    """,
        folder,
    )
