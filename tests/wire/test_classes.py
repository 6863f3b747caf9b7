"""Classes that go by value. An object that comes back from a worker does not change the caller's class."""

import enum

import pytest

import owngil

PROGRAM = """
import abc, dataclasses, enum

rate = 1

class A:
    seen = []
    count = 0

    def cost(self):
        return rate

    @classmethod
    def add(cls):
        cls.count += 1
        cls.seen.append("in a worker")
        return cls()

class Meta(type):
    def __call__(cls, *args):
        made = super().__call__(*args)
        cls.made = getattr(cls, "made", 0) + 1
        return made

class B(metaclass=Meta):
    made = 0

class Base(abc.ABC):
    pass

class Virtual:
    pass

class Color(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Point:
    x: int
    tags = set()

class Error(Exception):
    raised = 0

    def __init__(self, a, b):
        self.b = b

def make():
    return A()

def make_all():
    A.add()
    Point.tags.add("worker")
    Color.RED.label = "worker"
    Base.register(Virtual)
    return [A(), B(), Point(1), Color.RED, A, B, Point, Color, Base, Virtual]

def fail():
    Error.raised += 1
    raise Error(1, 2)
"""


@pytest.fixture
def names():
    found = {"__name__": "__main__"}
    exec(PROGRAM, found)
    return found


@pytest.fixture(params=["result", "map", "channel", "exception"])
def bring(request, interpreter):
    """Return a function that calls another in a worker, and brings what it returns back in one of the ways."""

    def by_channel(fn):
        channel = owngil.Channel()
        interpreter.call(lambda: channel.send(fn()))
        return channel.recv(300)

    def by_exception(fn):
        with pytest.raises(LookupError) as caught:
            interpreter.call(lambda: (_ for _ in ()).throw(LookupError(fn())))
        return caught.value.args[0]

    def by_map(fn):
        with owngil.Pool(1) as pool:
            return next(pool.map(lambda _: fn(), [0]))

    ways = {"result": interpreter.call, "map": by_map, "channel": by_channel, "exception": by_exception}
    return ways[request.param]


def test_a_result_leaves_the_callers_class_alone(names, interpreter):
    own = names["A"]
    cost, seen, state = own.cost, own.seen, None
    future = interpreter.submit(names["make"])
    own.seen.append("while the task ran")
    own.limit = 5
    own.cost.tag = 1
    state = dict(vars(own))
    result = future.result()
    names["rate"] = 2
    assert type(result) is own
    assert (result.cost(), own().cost(), own.limit) == (2, 2, 5)
    assert own.seen is seen
    assert own.cost is cost
    assert own.seen == ["while the task ran"]
    assert dict(vars(own)) == state


def test_all_kinds_of_classes_in_all_ways(names, bring):
    before = {name: dict(vars(names[name])) for name in ("A", "B", "Base", "Virtual", "Color", "Point")}
    members = dict(vars(names["Color"].RED))
    a, b, point, red, *classes = bring(names["make_all"])
    assert [type(a), type(b), type(point)] == [names["A"], names["B"], names["Point"]]
    assert red is names["Color"].RED
    assert classes == [names[name] for name in ("A", "B", "Point", "Color", "Base", "Virtual")]
    assert {name: dict(vars(names[name])) for name in before} == before
    assert (names["A"].seen, names["Point"].tags, dict(vars(names["Color"].RED))) == ([], set(), members)
    assert not issubclass(names["Virtual"], names["Base"])


def test_an_exceptions_class(names, interpreter):
    with pytest.raises(names["Error"]) as caught:
        interpreter.call(names["fail"])
    assert (caught.value.b, names["Error"].raised) == (2, 0)


def test_what_the_caller_changes_reaches_the_worker(names, interpreter):
    assert interpreter.call(names["make"]).count == 0
    names["A"].count = 7
    names["A"].seen.append("here")
    a = names["A"]
    assert interpreter.call(lambda: (a.count, list(a.seen))) == (7, ["here"])
    interpreter.call(names["make"])
    names["A"].extra = 1
    assert interpreter.call(lambda: a.extra) == 1


def test_a_class_of_the_worker_is_rebuilt_whole(interpreter):
    interpreter.exec("class Own:\n    value = [1]\n    def get(self):\n        return self.value")
    call = eval("lambda: Own()", {"__name__": "__main__"})  # finds what only the worker has
    assert interpreter.call(call).get() == [1]
    interpreter.exec("Own.value = [2]")
    assert interpreter.call(call).get() == [2]


def test_an_enum_compares_as_itself(names, interpreter):
    color = names["Color"]
    assert interpreter.call(lambda value: (value, value is color.RED), color.RED) == (color.RED, True)
    assert isinstance(color.RED, enum.Enum)
