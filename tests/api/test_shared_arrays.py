"""Shared arrays: every interpreter sees and may write the same memory, which lives as long as its last view."""

import copy
import gc
import pickle
import weakref

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import owngil

QUIET = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])

DTYPES = ["?", "i1", ">i4", "i8", "f2", "<f8", ">f8", "c16", "S3", "U2", "V5", "M8[ns]", "m8[D]",
          [("a", "i2"), ("b", "f8", (2,))],
          np.dtype({"names": ["x"], "formats": ["f4"], "offsets": [4], "itemsize": 16})]  # fmt: skip


@pytest.fixture(scope="module")
def it():
    with owngil.Interpreter() as it:
        yield it


def address(array):
    return array.__array_interface__["data"][0]


def look(array):
    """Return the array's properties in a worker: address of the first element, writeable or not, and layout."""
    return address(array), array.flags.writeable, array.dtype, array.shape, [
        s for s, n in zip(array.strides, array.shape, strict=True) if n > 1
    ]  # fmt: skip


def there_and_back(array):
    return look(array), array


@st.composite
def views(draw):
    """Draw a view of a shared array: any dtype and shape, with steps, in any order of axes, perhaps read-only."""
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=5))
    view = owngil.zeros(shape, draw(st.sampled_from(DTYPES)), draw(st.sampled_from("CF")))
    if view.ndim:
        view = view[tuple(slice(None, None, draw(st.sampled_from([1, 1, 2, -1, -2]))) for _ in range(view.ndim))]
        view = view.transpose(draw(st.permutations(range(view.ndim))))
    if view.ndim and draw(st.booleans()):
        view = view[..., view.shape[-1] // 2 :]
    if draw(st.booleans()):
        view.flags.writeable = False
    if draw(st.booleans()):
        view = np.broadcast_to(view, (2, *view.shape))
    return view


@hypothesis.settings(QUIET, max_examples=150)
@given(view=views())
def test_views_of_shared_arrays_arrive_as_views(it, view):
    seen, back = it.call(there_and_back, view)
    assert seen == look(view)
    assert look(back) == look(view)


def bump(thing):
    thing = thing["k"][1][0] if isinstance(thing, dict) else thing[0] if isinstance(thing, list) else thing
    thing += 1
    return thing


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: [a], lambda a: {"k": (1, [a])}], ids=["plain", "list", "deep"])
def test_all_interpreters_see_what_a_worker_writes(it, wrap):
    array = owngil.zeros(1000)
    back = it.call(bump, wrap(array))
    assert array.sum() == 1000
    back += 1
    assert array.sum() == 2000
    with owngil.Interpreter() as other:
        other.call(bump, back)
    assert array.sum() == 3000
    assert address(back) == address(array)


def test_closures_channels_and_initializers_share_too(it):
    array = owngil.zeros(10)
    channel = owngil.Channel()
    channel.send({"part": array[3:]})

    def work(channel):
        channel.recv()["part"][:] = 7
        array[0] = 5

    it.call(work, channel)
    assert array.tolist() == [5, 0, 0, *[7] * 7]

    def prepare(array):
        array[1] += 1

    with owngil.Pool(1, initializer=prepare, initargs=(array,)) as pool:
        pool.submit(int).result()
    assert array[1] == 1


def test_a_shared_array_of_a_worker_outlives_the_worker():
    def make():
        shared = owngil.full((3, 4), 2.5)
        return shared, shared[1:, ::2], owngil.share([1, 2, 3])

    with owngil.Interpreter() as it:
        whole, part, numbers = it.call(make)
    whole[2, 2] = 9
    assert part.tolist() == [[2.5, 2.5], [2.5, 9]]
    with owngil.Interpreter() as it:
        it.call(bump, numbers)
        it.call(bump, part)
    assert numbers.tolist() == [2, 3, 4]
    assert whole[2].tolist() == [3.5, 2.5, 10, 2.5]


def test_workers_pass_shared_arrays_to_each_other(it):
    def pass_on(array, channel):
        for k in range(array.size):
            channel.send(array[k : k + 1])
        channel.close()

    def fill(channel):
        for k, part in enumerate(channel):
            part[0] = k

    array = owngil.empty(50, int)
    channel = owngil.Channel(maxsize=2)
    with owngil.Pool(2) as pool:
        futures = [pool.submit(pass_on, array, channel), pool.submit(fill, channel)]
        for future in futures:
            future.result()
    assert array.tolist() == list(range(50))


def test_memory_views_and_frames_of_a_shared_array(it):
    array = owngil.zeros(100)

    def write(view, buffer, frame):
        view[1] = 1
        np.frombuffer(buffer)[2] = 2
        return address(frame["x"].to_numpy())

    frame = pd.DataFrame({"x": array}, copy=False)
    assert it.call(write, memoryview(array), memoryview(array)[::1], frame) == address(frame["x"].to_numpy())
    assert array[:4].tolist() == [0, 1, 2, 0]
    with pytest.raises(TypeError, match="read-only"):
        it.call(lambda view: view.__setitem__(0, 1), memoryview(array).toreadonly())
    with pytest.raises(ValueError, match="read-only"):
        it.call(bump, np.frombuffer(memoryview(array).toreadonly()))


class Named(np.ndarray):
    """A subclass that leaves pickling to NumPy."""


def test_subclasses_of_a_shared_array(it):
    array = owngil.zeros(6)
    for view in (array.view(Named), array.view(np.matrix), array.view(np.recarray)):
        back = it.call(bump, view)
        assert type(back) is type(view)
        assert address(back) == address(array)
    assert array.tolist() == [3] * 6
    masked = np.ma.MaskedArray(array, owngil.share([True] * 3 + [False] * 3))
    back = it.call(bump, masked)
    assert (address(back.data), address(back.mask)) == (address(masked.data), address(masked.mask))
    assert array.tolist() == [3, 3, 3, 4, 4, 4]


def test_an_array_that_is_shared_already_is_not_copied(it):
    array = owngil.zeros((4, 6))
    assert owngil.share(array) is array
    part = array.T[2:]
    assert owngil.share(part) is part

    def again(array):
        return owngil.share(array) is array

    assert it.call(again, part)
    assert not it.call(again, np.zeros(3))  # main's own array is lent


@hypothesis.settings(QUIET, max_examples=60)
@given(
    dtype=st.sampled_from(DTYPES),
    shape=arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    data=st.data(),
)
def test_share_copies_arrays_of_any_dtype_and_layout(dtype, shape, data):
    array = np.ones(shape, dtype) if np.dtype(dtype).kind not in "V" else np.zeros(shape, dtype)
    array = array.transpose(data.draw(st.permutations(range(array.ndim))))
    array = array[::-1] if array.ndim and data.draw(st.booleans()) else array
    shared = owngil.share(array)
    assert (shared.dtype, shared.shape, repr(shared.tolist())) == (array.dtype, array.shape, repr(array.tolist()))
    assert shared.flags.writeable
    assert type(shared) is np.ndarray
    if array.size:
        assert not np.shares_memory(shared, array)
        assert address(shared) % 64 == 0
        assert look(shared)[4] == look(np.empty_like(array))[4]


def test_empty_zeros_full():
    assert owngil.zeros(3).dtype == float
    assert owngil.zeros((2, 3), "i2", order="F").flags.f_contiguous
    assert owngil.zeros([2, np.int64(3)], [("a", "i4")]).shape == (2, 3)
    assert owngil.zeros(()).tolist() == 0
    assert owngil.zeros((2, 0, 3)).shape == (2, 0, 3)
    assert owngil.zeros(3, ("i4", (2,))).tolist() == [[0, 0]] * 3
    assert owngil.full(2, 1 + 2j).tolist() == [1 + 2j] * 2
    assert owngil.full((2, 2), [1, 2.9], int).tolist() == [[1, 2]] * 2
    assert owngil.full(2, "abc").tolist() == ["abc"] * 2
    assert owngil.full(2, np.datetime64("2020-01-01")).dtype == "M8[D]"
    for size in (1, 1000, 1 << 20, 5_000_001):
        array = owngil.empty(size, "u1")
        assert address(array) % 64 == 0
        assert (array.flags.c_contiguous, array.flags.writeable) == (True, True)
        assert not owngil.zeros(size, "u1").any()


def test_bad_arguments():
    for dtype in (object, [("a", object)], "T"):
        with pytest.raises(TypeError, match="Python objects"):
            owngil.zeros(3, dtype)
    for thing in ([None], np.array([{}]), np.zeros(2, [("a", object)])):
        with pytest.raises(TypeError, match="Python objects"):
            owngil.share(thing)
    with pytest.raises(TypeError, match="Python objects"):
        owngil.full(3, None)
    with pytest.raises(TypeError, match="its data and its mask"):
        owngil.share(np.ma.MaskedArray([1]))
    with pytest.raises(ValueError, match="0 or more"):
        owngil.zeros(-1)
    with pytest.raises(ValueError, match="'C' or 'F'"):
        owngil.zeros(1, order="K")
    with pytest.raises(TypeError):
        owngil.zeros(1.5)
    with pytest.raises(ValueError, match="broadcast"):
        owngil.full(3, [1, 2])
    for shape in (1 << 46, (1 << 62, 1 << 62), 1 << 61):
        with pytest.raises(MemoryError, match="no memory for a shared array"):
            owngil.zeros(shape)
    with pytest.raises(ValueError, match="resize"):
        owngil.zeros(3).resize(10)


def test_copies_are_ordinary_arrays(it):
    array = owngil.zeros(3)
    for other in (array.copy(), copy.copy(array), copy.deepcopy(array), pickle.loads(pickle.dumps(array)), array + 0):
        assert not np.shares_memory(other, array)
        with pytest.raises(ValueError, match="read-only"):
            it.call(bump, other)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_large_zeros_cost_nothing_until_touched():
    before = resident()
    array = owngil.zeros(1 << 30, "u1")
    assert resident() - before < 50_000_000
    array[:: 1 << 28] = 1
    assert resident() - before < 50_000_000


def test_memory_is_freed_with_the_last_view(it):
    before = resident()
    array = owngil.full(100_000_000, 1, "u1")
    assert resident() - before > 90_000_000
    it.exec("kept = array[5:6]; del array", array=array)
    assert it.call(eval, "__import__('__main__').kept[0]") == 1
    del array
    gc.collect()
    assert resident() - before > 90_000_000
    it.exec("del kept")
    assert it.call(int) == 0  # the message of the previous task is freed
    assert resident() - before < 50_000_000


def test_main_may_drop_an_array_while_a_worker_uses_it(it):
    go, begun = owngil.Channel(), owngil.Channel()

    def work(array, begun, go):
        begun.send(None)
        go.recv()
        array += 1
        return array

    array = owngil.zeros(100_000)
    future = it.submit(work, array, begun, go)
    begun.recv()
    reference = weakref.ref(array)
    del array
    assert reference() is None
    go.send(None)
    assert future.result().sum() == 100_000
