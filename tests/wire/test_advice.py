"""What cannot be sent to a worker is named, with what to use instead."""

import contextvars
import multiprocessing
import pickle
import queue
import threading

import pytest

import owngil

spawn = multiprocessing.get_context("spawn")
CASES = [
    (threading.Lock, "_thread.lock", "Use owngil.Lock, which all workers share"),
    (threading.RLock, "_thread.RLock", "Use owngil.Lock,"),
    (threading.Event, "threading.Event", "Use owngil.Event,"),
    (threading.Semaphore, "threading.Semaphore", "Use owngil.Semaphore,"),
    (threading.BoundedSemaphore, "threading.BoundedSemaphore", "Use owngil.BoundedSemaphore,"),
    (lambda: threading.Barrier(2), "threading.Barrier", "Use owngil.Barrier,"),
    (threading.Condition, "threading.Condition", "Use owngil.Event or owngil.Channel,"),
    (queue.Queue, "queue.Queue", "Use owngil.Channel,"),
    (queue.SimpleQueue, "_queue.SimpleQueue", "Use owngil.Channel,"),
    (spawn.Lock, "multiprocessing.synchronize.Lock", "Use owngil.Lock,"),
    (spawn.RLock, "multiprocessing.synchronize.RLock", "Use owngil.Lock,"),
    (spawn.Event, "multiprocessing.synchronize.Event", "Use owngil.Event,"),
    (lambda: spawn.Semaphore(2), "multiprocessing.synchronize.Semaphore", "Use owngil.Semaphore,"),
    (lambda: spawn.Barrier(2), "multiprocessing.synchronize.Barrier", "Use owngil.Barrier,"),
    (spawn.Queue, "multiprocessing.queues.Queue", "Use owngil.Channel,"),
    (spawn.SimpleQueue, "multiprocessing.queues.SimpleQueue", "Use owngil.Channel,"),
    (lambda: spawn.Value("i"), "multiprocessing.sharedctypes.Synchronized", "Use owngil.Counter,"),
    (lambda: contextvars.ContextVar("request"), "the ContextVar 'request'", "Pass its value as an argument"),
]


@pytest.mark.parametrize(("make", "name", "advice"), CASES, ids=[name for _, name, _ in CASES])
@pytest.mark.parametrize("how", ["argument", "inside", "global"])
def test_what_to_use_instead(pool, make, name, advice, how):
    obj = make()
    with pytest.raises((TypeError, pickle.PicklingError, RuntimeError)) as caught:
        if how == "argument":
            pool.submit(abs, obj)
        elif how == "inside":
            pool.submit(abs, {"a": [1, (obj,)]})
        else:
            pool.submit(lambda: obj)
    assert name in str(caught.value)
    assert advice in str(caught.value)


def test_other_objects_are_only_named(pool):
    with pytest.raises(TypeError, match=r"an object of type 'generator' cannot be pickled: [^.]*$"):
        pool.submit(abs, (k for k in range(3)))


def test_a_result(pool):
    with pytest.raises(TypeError, match=r"Use owngil\.Lock, which all workers share"):
        pool.submit(threading.Lock).result()
    assert owngil.Lock is not None
