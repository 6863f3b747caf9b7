"""Extensions of every kind, built here and used in four workers at once: each worker has a private copy."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from extensions import build

import owngil

WORKERS = 4


SLOW = {"pyo3"}  # to build


def kinds_with(*functions: str) -> list[object]:
    return [
        pytest.param(kind, marks=[pytest.mark.slow] if kind in SLOW else [])
        for kind, about in build.KINDS.items()
        if about.offers.issuperset(functions)
    ]


@pytest.fixture(scope="session")
def built() -> Callable[[str], str]:
    """Give the folder with the module of a kind; skip if a tool that its build needs is missing."""

    def built(kind: str) -> str:
        try:
            return str(build.build(kind))
        except build.Missing as missing:
            pytest.skip(f"{kind}: {missing}")

    return built


@pytest.fixture(scope="module")
def workers() -> Iterator[list[owngil.Interpreter]]:
    workers = [owngil.Interpreter() for _ in range(WORKERS)]
    yield workers
    for worker in workers:
        worker.close()


def load(folder, kind):
    """Import a kind's module from its folder on sys.path."""
    import importlib

    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(f"by_{kind}")


def bump(folder, kind, times):
    module = load(folder, kind)
    return [module.bump() for _ in range(times)]


@pytest.mark.parametrize("kind", kinds_with("bump"))
def test_each_worker_counts_for_itself(built, workers, kind):
    folder = built(kind)
    futures = [worker.submit(bump, folder, kind, 100 * k + 1) for k, worker in enumerate(workers)]
    for k, future in enumerate(futures):
        assert future.result() == list(range(1, 100 * k + 2))
    for k, worker in enumerate(workers):
        assert worker.call(bump, folder, kind, 1) == [100 * k + 2]


def draw(folder, kind, times):
    module = load(folder, kind)
    return [module.draw() for _ in range(times)]


@pytest.mark.parametrize("kind", kinds_with("draw"))
def test_each_worker_draws_for_itself(built, workers, kind):
    folder = built(kind)
    futures = [worker.submit(draw, folder, kind, 100 * k + 1) for k, worker in enumerate(workers)]
    drawn = [future.result() for future in futures]
    assert len(set(drawn[-1])) > 1
    for k, numbers in enumerate(drawn):
        assert numbers == drawn[-1][: 100 * k + 1]


def apply(folder, kind, k):
    module = load(folder, kind)
    marker = object()
    with pytest.raises(LookupError, match=f"no {k}"):
        module.apply({}.__getitem__, f"no {k}")
    assert module.apply(lambda x: x, marker) is marker
    return [module.apply(lambda x: x + k, i) for i in range(100)], module.apply(lambda x: module.apply(abs, x), -k)


@pytest.mark.parametrize("kind", kinds_with("apply"))
def test_callables_are_called_in_their_worker(built, workers, kind):
    folder = built(kind)
    futures = [worker.submit(apply, folder, kind, k) for k, worker in enumerate(workers)]
    for k, future in enumerate(futures):
        assert future.result() == ([i + k for i in range(100)], k)


def fail(folder, kind):
    load(folder, kind).fail()


@pytest.mark.parametrize("kind", kinds_with("fail"))
def test_an_exception_of_the_extension_propagates(built, workers, kind):
    folder = built(kind)
    futures = [worker.submit(fail, folder, kind) for worker in workers]
    for future in futures:
        with pytest.raises(ValueError, match="refused"):
            future.result()


def end_threads(folder, kind, threads):
    import time
    from threading import Thread

    module = load(folder, kind)
    before = module.ended()
    for _ in range(threads):
        thread = Thread(target=module.bump)
        thread.start()
        thread.join()
    # On Python 3.12, join() returns a little before the thread ends.
    deadline = time.monotonic() + 300
    while module.ended() - before < threads and time.monotonic() < deadline:
        time.sleep(0.001)
    return module.ended() - before


@pytest.mark.parametrize("kind", kinds_with("ended"))
def test_thread_locals_end_with_their_thread(built, workers, kind):
    folder = built(kind)
    futures = [worker.submit(end_threads, folder, kind, 10 + k) for k, worker in enumerate(workers)]
    assert [future.result() for future in futures] == [10 + k for k in range(WORKERS)]


def total(folder, kind, size):
    import numpy

    return float(load(folder, kind).total(numpy.arange(size, dtype=float)))


@pytest.mark.parametrize("kind", kinds_with("total"))
def test_arrays_go_in(built, workers, kind):
    pytest.importorskip("numpy")
    folder = built(kind)
    futures = [worker.submit(total, folder, kind, 1000 + k) for k, worker in enumerate(workers)]
    for k, future in enumerate(futures):
        size = 1000 + k
        assert future.result() == size * (size - 1) / 2


@pytest.mark.parametrize("kind", kinds_with())
def test_closing_and_exit_are_clean(built, ends_cleanly, kind):
    """Closing one worker unloads its copy; the other copies and the main interpreter's module live until exit."""
    folder = built(kind)
    printed = ends_cleanly(
        """
        import sys, threading
        kind, folder, tests = sys.argv[1:]
        sys.path[:0] = [folder, tests]
        import importlib
        import owngil
        from extensions.build import KINDS

        def use(folder, kind, offers):
            import importlib, sys
            if folder not in sys.path:
                sys.path.insert(0, folder)
            module = importlib.import_module(f"by_{kind}")
            if "apply" in offers:
                assert module.apply(abs, -3) == 3
            if "fail" in offers:
                try:
                    module.fail()
                except ValueError:
                    pass
            return module.bump() if "bump" in offers else module.draw()

        offers = set(KINDS[kind].offers)
        results = []
        for _ in range(2):
            with owngil.Interpreter() as it:
                results.append(it.call(use, folder, kind, offers))
        left = [owngil.Interpreter() for _ in range(2)]
        results += [it.call(use, folder, kind, offers) for it in left]
        results.append(use(folder, kind, offers))
        print(len(results), len(set(results)))
        """,
        kind,
        folder,
        str(Path(build.__file__).parents[1]),
    )
    assert printed == "5 1\n"
