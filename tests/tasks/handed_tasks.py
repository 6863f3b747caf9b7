"""Tasks of test_handed_pool.py, in a module of their own so that workers need not import pytest and NumPy."""

import asyncio
import threading
import time
from concurrent.futures import as_completed, wait


def fib(pool, n):
    if n < 2:
        return n
    a = pool.submit(fib, pool, n - 1)
    b = pool.submit(fib, pool, n - 2)
    return a.result() + b.result()


def quicksort(pool, items):
    if len(items) < 2:
        return items
    pivot, *rest = items
    parts = [[x for x in rest if x < pivot], [x for x in rest if x >= pivot]]
    low, high = pool.map(quicksort, [pool] * 2, parts, chunksize=1)
    return [*low, pivot, *high]


def tree(pool, depth, collect):
    if depth == 0:
        return 1
    return sum(collect([pool.submit(tree, pool, depth - 1, collect) for _ in range(2)]))


def by_wait(futures):
    done, _ = wait(futures)
    return [f.result() for f in done]


def by_as_completed(futures):
    return [f.result() for f in as_completed(futures)]


def by_result_with_timeout(futures):
    return [f.result(300) for f in futures]


def by_exception(futures):
    assert [f.exception() for f in futures] == [None] * len(futures)
    return [f.result() for f in futures]


def by_polling(futures):
    while not all(f.done() for f in futures):
        time.sleep(0)
    return [f.result() for f in futures]


def by_callbacks(futures):
    done = threading.Semaphore(0)
    for f in futures:
        f.add_done_callback(lambda _: done.release())
    for _ in futures:
        done.acquire()
    return [f.result() for f in futures]


def by_coroutine(futures):
    async def gather():
        return await asyncio.gather(*map(asyncio.wrap_future, futures))

    return asyncio.run(gather())


def by_threads(futures):
    values = []
    threads = [threading.Thread(target=lambda f=f: values.append(f.result())) for f in futures]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return values
