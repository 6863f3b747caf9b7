"""Exceptions arrive with their type and state, whatever their ``__init__`` takes: raised, returned, as arguments."""

import copyreg
import dataclasses
import errno
import json
import pickle
import subprocess
from concurrent.futures import CancelledError

import pytest

import owngil


class TwoArguments(Exception):
    """Passes one of its arguments on, as most people's exceptions do."""

    def __init__(self, path, line):
        super().__init__(f"{path}:{line}")
        self.path = path
        self.line = line


class OnlyKeywords(ValueError):
    def __init__(self, *, code):
        self.code = code

    def __str__(self):
        return f"code {self.code}"


class CallsNothing(Exception):
    def __init__(self, a, b):
        pass


class OwnNew(KeyError):
    def __new__(cls, key, mapping):
        made = super().__new__(cls, key)
        made.mapping = mapping
        return made

    def __init__(self, key, mapping):
        super().__init__(key)


class Slots(RuntimeError):
    __slots__ = ("where",)

    def __init__(self, where, extra):
        self.where = where
        self.extra = extra


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    a: int
    b: list


class Two(OSError, ValueError):
    """Has the layout of its first base, though others come before it in another's order."""

    def __init__(self, name, number):
        super().__init__(number, "text", name)


class Late(ValueError, OSError):
    def __init__(self, number):
        super().__init__(number, "text")


class OwnOSError(OSError):
    def __new__(cls, what, number):
        return super().__new__(cls, number, what)

    def __init__(self, what, number):
        super().__init__(number, what)
        self.what = what


class Decoding(UnicodeDecodeError):
    def __init__(self, data):
        super().__init__("utf-8", data, 0, 1, "bad")


class Syntax(SyntaxError):
    def __init__(self, text, line):
        super().__init__(text, ("file.py", line, 1, "x = ("))


class Import(ImportError):
    def __init__(self, name):
        super().__init__(f"no {name}", name=name, path="/nowhere")


class Exit(SystemExit):
    def __init__(self, a, b):
        super().__init__(a + b)


class Stop(StopIteration):
    def __init__(self, a, b):
        super().__init__((a, b))


class Attribute(AttributeError):
    def __init__(self, name, obj, hint):
        super().__init__(hint, name=name, obj=obj)


class Many(ExceptionGroup):
    def __new__(cls, errors, code):
        self = super().__new__(cls, f"code {code}", errors)
        self.code = code
        return self

    def derive(self, errors):
        return Many(errors, self.code)


class OwnReduce(Exception):
    def __init__(self, a, b):
        super().__init__("shown")
        self.both = a, b

    def __reduce__(self):
        return OwnReduce, self.both


class OwnSetState(Exception):
    def __init__(self, a):
        super().__init__("one")
        self.a = a

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.restored = True


def plain(error):
    return type(error), str(error), error.args, {k: v for k, v in vars(error).items() if k != "__notes__"}


def os_fields(error):
    return error.errno, error.strerror, error.filename, error.filename2


CASES = [
    (lambda: TwoArguments("f.txt", 7), lambda e: (e.path, e.line)),
    (lambda: OnlyKeywords(code=3), lambda e: e.code),
    (lambda: CallsNothing(1, 2), lambda e: e.args),
    (lambda: OwnNew("k", {"a": 1}), lambda e: e.mapping),
    (lambda: Slots("here", 5), lambda e: (e.where, e.extra)),
    (lambda: Frozen(1, [2]), lambda e: (e.a, e.b)),
    (lambda: Two("name", errno.ENOENT), os_fields),
    (lambda: Late(errno.EACCES), os_fields),
    (lambda: OwnOSError("what", errno.EPERM), lambda e: (e.what, *os_fields(e))),
    (lambda: FileNotFoundError(errno.ENOENT, "gone", "a", None, "b"), os_fields),
    (lambda: Decoding(b"\xff"), lambda e: (e.object, e.start, e.end, e.reason)),
    (lambda: Syntax("bad", 4), lambda e: (e.filename, e.lineno, e.text)),
    (lambda: Import("thing"), lambda e: (e.name, e.path, e.msg)),
    (lambda: Exit(1, 2), lambda e: e.code),
    (lambda: Stop(1, 2), lambda e: e.value),
    (lambda: Attribute("x", "y", "a hint"), lambda e: e.name),
    (lambda: OwnReduce(1, 2), lambda e: e.both),
    (lambda: OwnSetState(4), lambda e: e.a),
    (lambda: json.JSONDecodeError("msg", "doc\n12", 5), lambda e: (e.msg, e.doc, e.pos, e.lineno, e.colno)),
    (lambda: subprocess.CalledProcessError(3, ["a"], "out"), lambda e: (e.returncode, e.cmd, e.stdout)),
    (lambda: subprocess.TimeoutExpired("cmd", 2.5), lambda e: (e.cmd, e.timeout)),
    (lambda: CancelledError("why"), lambda e: e.args),
]
LOSE_NOTES = (OwnReduce, json.JSONDecodeError, Frozen)  # their own reduction leaves notes out, or they take none
IDS = [type(make()).__name__ for make, _ in CASES]


def throw(make):
    error = make()
    if not isinstance(error, Frozen):
        error.add_note("a note")
    raise error


@pytest.mark.parametrize(("make", "fields"), CASES, ids=IDS)
def test_a_raised_exception(pool, make, fields):
    expected = make()
    with pytest.raises(type(expected)) as caught:
        pool.submit(throw, make).result()
    error = caught.value
    assert type(error) is type(expected)
    assert (str(error), error.args, fields(error)) == (str(expected), expected.args, fields(expected))
    assert getattr(error, "__notes__", None) == ["a note"] or isinstance(error, LOSE_NOTES)
    assert hasattr(error, "restored") == isinstance(error, OwnSetState)
    assert isinstance(error.__cause__, owngil.RemoteTraceback)


@pytest.mark.parametrize(("make", "fields"), CASES, ids=IDS)
def test_an_exception_as_argument_and_as_result(pool, make, fields):
    expected = make()
    error, in_list = pool.submit(lambda e: (e, [e]), make()).result()
    assert error is in_list[0]
    assert plain(error)[:3] == plain(expected)[:3]
    assert fields(error) == fields(expected)


def test_an_exception_of_a_map(pool):
    with pytest.raises(TwoArguments) as caught:
        list(pool.map(lambda k: throw(lambda: TwoArguments("f", k)), range(3)))
    assert (caught.value.path, caught.value.line) == ("f", 0)


def test_an_exception_of_a_script(pool):
    names = {"__name__": "__main__"}
    exec(
        "class Own(Exception):\n    def __init__(self, a, b):\n        self.b = b\n\ndef fail():\n    raise Own(1, 2)",
        names,
    )
    with pytest.raises(names["Own"]) as caught:
        pool.submit(names["fail"]).result()
    assert (caught.value.args, caught.value.b) == ((1, 2), 2)


def test_groups(pool):
    def fail():
        inner = ExceptionGroup("inner", [OnlyKeywords(code=1)])
        raise Many([TwoArguments("f", 1), inner], 9)

    with pytest.raises(Many, match="code 9") as caught:
        pool.submit(fail).result()
    first, inner = caught.value.exceptions
    assert (caught.value.code, first.line, inner.exceptions[0].code) == (9, 1, 1)
    assert len(caught.value.subgroup(OnlyKeywords).exceptions) == 1


def test_an_exception_that_refers_to_itself(pool):
    def by_attribute():
        error = TwoArguments("f", 1)
        error.me = [error]
        return error

    def by_argument():
        job = [1]
        error = CallsNothing(job, 2)
        job.append(error)
        return error

    error = pool.submit(by_attribute).result()
    assert error.me[0] is error
    error = pool.submit(by_argument).result()
    assert error.args[0][1] is error
    with pytest.raises(CallsNothing) as caught:
        pool.submit(throw, by_argument).result()
    assert caught.value.args[0][1] is caught.value


def test_an_exception_with_a_channel_and_an_array(pool):
    numpy = pytest.importorskip("numpy")

    def fail(channel):
        error = TwoArguments("f", 1)
        error.channel = channel
        error.array = numpy.arange(100_000)
        raise error

    channel = owngil.Channel()
    with pytest.raises(TwoArguments) as caught:
        pool.submit(fail, channel).result()
    caught.value.channel.send(5)
    assert channel.recv(60) == 5
    assert caught.value.array.sum() == numpy.arange(100_000).sum()


def test_changed_arguments(pool):
    def make():
        error = Decoding(b"\xff")
        error.args = ("only this",)
        return error

    assert pool.submit(make).result().args == ("only this",)


class Registered(Exception):
    pass


def test_a_reducer_of_copyreg_counts(pool):
    copyreg.pickle(Registered, lambda error: (ValueError, ("instead",)))
    try:
        assert pickle.loads(pickle.dumps(Registered())).args == ("instead",)
        assert repr(pool.submit(repr, Registered()).result()) == repr("ValueError('instead')")
    finally:
        del copyreg.dispatch_table[Registered]
