"""Every function of the core, called with values that no caller should pass: an exception or a result, never a crash.

Left out are the functions that say in _core.pyi that they trust an address, and those that end the process.
"""

import pytest

SOURCE = """
    import random, signal, sys, threading, warnings
    import owngil
    from owngil import _core

    TRUST = {"close_library", "create_module", "set_threads", "use_array_memory", "of_array"}
    WAIT = {
        "acquire", "wait", "get", "receive", "put", "await_answer", "locked", "locked_within", "__enter__", "__exit__"
    }
    END = {"die_of_sigint", "end_kept_workers", "before_end", "take_task", "join"}

    class Stop(BaseException):
        pass

    def fuzz(where, seed, rounds):
        "Call everything `rounds` times with random arguments: in main with what waits, in a worker without."
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.15 warns of integers that are out of range
        in_main = threading.current_thread() is threading.main_thread() and _core.in_main_interpreter()
        skipped = TRUST | END | (set() if in_main else WAIT)
        chance = random.Random(seed)
        channel, closed = owngil.Channel(), _core.Queue()
        closed.close()

        class Odd:
            "An object whose every question has a wrong answer."
            __class__ = property(lambda self: _core.Queue)
            def __index__(self): return -7
            def __float__(self): return float("nan")
            def __bool__(self): raise ValueError
            def __len__(self): return 1 << 62
            def __getattr__(self, name): raise LookupError(name)
            def __call__(self, *args): raise KeyError

        class Text(str): pass
        class Number(int): pass
        class Many(tuple): pass
        class Mapping(dict): pass

        values = [
            None, True, 0, 1, -1, 2, 255, 2**31 - 1, 2**31, -2**31 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64,
            -2**70, 0.0, -0.0, 1e-9, -1.0, 1e308, -1e308, float("inf"), float("-inf"), float("nan"), 1j,
            "", "text", "\\0", "\\udc80", "x" * 5000, b"", b"bytes", b"a\\0b", b"/nowhere", b"x" * 5000,
            bytearray(b"abc"), memoryview(b"abcdef")[::2], memoryview(bytearray(8)),
            (), (1,), (b"",), (b"", b""), ((b"a", b"b"),),
            ((b"a",),), (None,) * 7, (0,), (4096,), [], [[]], {}, {"k": 1}, set(), Odd(), Text("t"),
            Number(5), Many((1, 2)), Mapping(), object, type, len, repr, int, Odd,
            lambda *args: None, lambda: ValueError("v"), sys, _core,
            ..., ValueError, ValueError("v"), iter(()), threading.Lock(), channel,
            _core.Queue(), _core.Queue(1), closed, _core.Block(b"block"), _core.Block.zeros(1 << 12), _core.Lock(),
            _core.Semaphore(), _core.BoundedSemaphore(0), _core.Event(), _core.Barrier(2), _core.Counter(),
            _core.Wakeup(), _core.Queue().put(1, 1, ()), closed, where,
        ]
        made = []
        types = [kind for kind in vars(_core).values() if isinstance(kind, type) and kind is not _core.QueueClosed]

        def targets():
            "Give the functions of the module, the types, and the methods and attributes of the objects at hand."
            for name, function in vars(_core).items():
                if callable(function) and name not in skipped and not name.startswith("__"):
                    yield function
            for thing in [*values, *made[-100:]]:
                if type(thing) in types:
                    for name in dir(type(thing)):
                        if name not in skipped | {"__class__", "__new__", "__init_subclass__", "__subclasshook__"}:
                            yield lambda *args, thing=thing, name=name: getattr(thing, name)(*args)
                    for attribute in ("confirmed", "shared", "nothing"):
                        yield lambda value, thing=thing, name=attribute: setattr(thing, name, value)

        count = failed = 0
        for _ in range(rounds):
            for target in targets():
                size = chance.choice([0, 1, 1, 2, 2, 3, 4, 5, 6, 7])
                arguments = [chance.choice([*values, *made[-30:]]) for _ in range(size)]
                count += 1
                try:
                    result = (with_alarm if in_main else apply)(target, arguments)
                    if type(result) in types:
                        made.append(result)
                except (Stop, Exception):
                    failed += 1
        assert count > failed > 0
        return count

    def apply(target, arguments):
        return target(*arguments)

    def with_alarm(target, arguments):
        "Call the target; a signal ends its wait."
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            return target(*arguments)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def stop(*_):
        raise Stop
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_main(ends_cleanly, seed):
    ends_cleanly(
        SOURCE
        + """
    signal.signal(signal.SIGALRM, stop)
    seed = int(sys.argv[1])
    with owngil.Interpreter() as it:
        [worker] = it._dispatcher.workers.alive.values()
        fuzz(worker, seed, 20)
    fuzz(worker, -seed, 20)  # the worker has ended
    """,
        str(seed),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("thread", [False, True])
def test_in_a_worker(ends_cleanly, seed, thread):
    """On its own thread, and on another one there."""
    ends_cleanly(
        SOURCE
        + """
    def there(seed):
        counts = []
        thread = threading.Thread(target=lambda: counts.append(fuzz(None, seed, 20)))
        thread.start()
        thread.join()
        assert counts

    with owngil.Interpreter() as it:
        it.call(there, int(sys.argv[1])) if sys.argv[2] == "True" else it.call(fuzz, None, int(sys.argv[1]), 20)
    """,
        str(seed),
        str(thread),
    )
