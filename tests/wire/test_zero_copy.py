"""Arrays of any kind pass to workers and back without a copy, and their memory is freed."""

import gc
import mmap
import time
import weakref

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import owngil

DTYPES = ["?", "i1", "<u2", ">i4", "i8", "f2", "f4", "<f8", ">f8", "c8", "c16", "S3", "U2", "V5", "M8[ns]", "m8[D]",
          [("a", "i2"), ("b", "f8", (2,))], [("a", "M8[s]"), ("b", [("c", "m8[D]", (2,))])],
          np.dtype({"names": ["x"], "formats": ["f4"], "offsets": [4], "itemsize": 16})]  # fmt: skip


# A busy machine must not fail the test.
QUIET = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])


@pytest.fixture(scope="module")
def it():
    with owngil.Interpreter() as it:
        yield it


def look(array):
    """Return the array's properties in a worker: address of the first element, writeable or not, and values."""
    return array.__array_interface__["data"][0], array.flags.writeable, repr(array.tolist())


def address(array):
    return array.__array_interface__["data"][0]


@st.composite
def layouts(draw):
    """Draw an array of any dtype and shape: a view with steps, in any order of axes."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    raw = draw(st.binary(min_size=1, max_size=16))
    raw = np.frombuffer(raw, "u1") & 0x3F if dtype.kind != "U" else np.array(["a", "bé", "\U0001f600"], "U2").view("u1")
    array = np.resize(raw, max(1, int(np.prod(shape)) * dtype.itemsize))
    array = array[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape) if 0 not in shape else np.empty(
        shape, dtype
    )  # fmt: skip
    if array.ndim:
        array = array[tuple(slice(None, None, draw(st.sampled_from([1, 1, 2, -1, -2]))) for _ in range(array.ndim))]
        array = array.transpose(draw(st.permutations(range(array.ndim))))
        if draw(st.booleans()):
            array = np.broadcast_to(array, (2, *array.shape))
    if draw(st.booleans()):
        array = np.asfortranarray(array)
    return array


@hypothesis.settings(QUIET, max_examples=150)
@given(array=layouts(), nest=st.sampled_from([lambda a: a, lambda a: [a], lambda a: {"k": (1, [a])}]))
def test_arguments_of_any_layout_are_views(it, array, nest):
    def find(thing):
        while not isinstance(thing, np.ndarray):
            thing = next(iter(thing.values())) if isinstance(thing, dict) else thing[-1]
        return thing

    def there(thing):
        array = find(thing)
        return look(array), array.dtype, array.shape, array.strides

    found, dtype, shape, strides = it.call(there, nest(array))
    assert (dtype, shape) == (array.dtype, array.shape)
    assert found[2] == repr(array.tolist())
    if array.size:
        assert (found[0], found[1]) == (address(array), False)
        assert [s for s, n in zip(strides, shape, strict=True) if n > 1] == [
            s for s, n in zip(array.strides, shape, strict=True) if n > 1
        ]


@hypothesis.settings(QUIET, max_examples=100)
@given(array=layouts(), nest=st.sampled_from([lambda a: a, lambda a: [a], lambda a: {"k": (1, [a])}]))
def test_results_of_any_layout_arrive_writable(it, array, nest):
    def there(array):
        copy = np.array(array, order="K")  # memory of the worker
        return nest(copy), address(copy), repr(copy.tolist())

    got, place, content = it.call(there, array)
    while not isinstance(got, np.ndarray):
        got = got["k"] if isinstance(got, dict) else got[-1]
    assert (got.dtype, got.shape, repr(got.tolist())) == (array.dtype, array.shape, content)
    if got.size:
        assert address(got) == place
        assert got.flags.writeable


def test_a_part_of_a_workers_array_is_handed_over_without_a_copy(it):
    def there():
        whole = np.arange(1000.0).reshape(10, 100)
        return [whole[2:4, ::-1], whole[3], whole[:, 5]], address(whole)

    (rows, row, column), place = it.call(there)
    assert rows.tolist() == [list(range(299, 199, -1)), list(range(399, 299, -1))]
    assert address(row) - place == 2400
    assert column.tolist() == list(range(5, 1000, 100))
    rows[1, 99] = -1  # the same memory as the row
    assert row[0] == -1


def test_arguments_come_back_in_the_same_memory(it):
    array = np.arange(1000.0)
    whole, part, column, view = it.call(lambda a: (a, a[10:20], a.reshape(100, 10)[:, 3:9], memoryview(a[5:])), array)
    assert [address(whole), address(part), address(column)] == [address(array) + k for k in (0, 80, 24)]
    assert np.asarray(view).__array_interface__["data"][0] == address(array) + 40
    assert not whole.flags.writeable  # the memory belongs to the caller


def test_results_outlive_their_worker():
    with owngil.Interpreter() as it:
        array = it.call(np.arange, 100_000)
        part = it.call(lambda: np.arange(1000)[10:20])
    gc.collect()
    array += 1
    assert array.sum() == 100_000 * 100_001 // 2
    assert part.tolist() == list(range(10, 20))


def test_arguments_are_read_only(it):
    def write(array):
        array[0] = 1

    with pytest.raises(ValueError, match="read-only"):
        it.call(write, np.zeros(3))


def wants_huge_pages():
    """Return whether the system was asked for huge pages for a new large array."""
    array = np.ones(64 << 20, np.uint8)
    middle = address(array) + array.size // 2
    inside = False
    with open("/proc/self/smaps") as file:
        for line in file:
            first, *rest = line.split()
            if "-" in first:
                start, end = (int(number, 16) for number in first.split("-"))
                inside = start <= middle < end
            elif inside and first == "VmFlags:":
                return "hg" in rest
    raise AssertionError


def test_large_arrays_of_workers_are_in_huge_pages_as_mains_are(it):
    assert it.call(wants_huge_pages) == wants_huge_pages()


def test_a_worker_may_resize_an_array_that_it_has_returned(it):
    it.exec("import numpy as np; kept = np.arange(10)")
    got = it.call(eval, "__import__('__main__').kept")
    it.exec("kept.resize(100_000, refcheck=False); kept[:10] = 7")
    assert got.tolist() == list(range(10))
    it.exec("kept.resize(5, refcheck=False)")
    assert it.call(eval, "__import__('__main__').kept").tolist() == [7] * 5


class Watched(np.ndarray):
    """An array that supports weak references."""


def wait_until_gone(reference):
    deadline = time.monotonic() + 300  # owngil promises milliseconds, but the machine may be busy
    while reference() is not None and time.monotonic() < deadline:
        time.sleep(0.001)
    return reference() is None


def test_a_lent_array_comes_back_at_once(it):
    array = np.ones(1000).view(Watched)
    reference = weakref.ref(array)
    view = memoryview(array)
    it.exec("kept = argument", argument=view)
    del array, view
    gc.collect()
    assert it.call(eval, "__import__('__main__').kept[999]") == 1
    assert reference() is not None  # the worker still reads it
    it.exec("del kept, argument")
    assert wait_until_gone(reference)


def test_a_lent_array_comes_back_when_the_worker_ends():
    array = np.ones(1000).view(Watched)
    reference = weakref.ref(array)
    with owngil.Interpreter() as it:
        it.exec("kept = argument", argument=memoryview(array))
        del array
        gc.collect()
        assert reference() is not None
    assert wait_until_gone(reference)


def test_a_lent_array_cannot_be_resized(it):
    memory = bytearray(1000)
    it.exec("kept = argument", argument=np.frombuffer(memory, np.uint8))
    with pytest.raises(BufferError):
        memory.append(1)
    it.exec("del kept, argument")
    deadline = time.monotonic() + 300
    while True:
        try:
            memory.append(1)
        except BufferError:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        else:
            break


def test_the_sender_may_forget_its_array(it):
    channel = owngil.Channel()
    for k in range(20):
        channel.send(np.full(100_000, k))
    assert it.call(lambda c: [int(c.recv().sum()) for _ in range(20)], channel) == [100_000 * k for k in range(20)]


def test_channels_between_workers_hand_memory_over(it):
    def make(channel):
        import numpy as np

        array = np.arange(100_000)
        channel.send([array, array[::2]])
        return address(array)

    def take(channel):
        whole, half = channel.recv()
        return address(whole), address(half), whole.flags.writeable, int(half[-1])

    channel = owngil.Channel()
    with owngil.Interpreter() as other:
        place = other.call(make, channel)
    assert it.call(take, channel) == (place, place, False, 99_998)


def test_maps_masks_frames_and_views(it, tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, np.arange(1000))
    mapped = np.load(path, mmap_mode="r")
    assert it.call(look, mapped)[0] == address(mapped)

    masked = np.ma.MaskedArray(np.arange(6).reshape(2, 3), mask=[[0, 1, 0], [1, 0, 0]], fill_value=9, hard_mask=True)
    got = it.call(lambda a: (a, address(a.data), address(a.mask)), masked)
    assert got[1:] == (address(masked.data), address(masked.mask))
    assert (got[0].filled().tolist(), got[0].hardmask) == ([[0, 9, 2], [9, 4, 5]], True)
    assert it.call(lambda a: a.mask is np.ma.nomask, np.ma.MaskedArray([1, 2])) is True
    # A fill value that follows from the dtype still does so there, and at the caller.
    plain = np.ma.MaskedArray(np.int16([1, 2]), mask=[0, 1])
    assert it.call(lambda a: a.astype(float).filled().tolist(), plain) == [1, 1e20]
    assert plain.astype(float).filled().tolist() == [1, 1e20]

    frame = pd.DataFrame({"x": np.arange(1000), "t": pd.date_range("2020", periods=1000)})
    same, place = it.call(lambda f: (f.equals(f.copy()), address(f["x"].to_numpy())), frame)
    assert (same, place) == (True, address(frame["x"].to_numpy()))

    view = memoryview(np.arange(12, dtype="i4").reshape(3, 4))
    form, shape, values, readonly = it.call(lambda v: (v.format, v.shape, v.tolist(), v.readonly), view)
    assert (form, shape, values, readonly) == ("i", (3, 4), view.tolist(), True)
    assert it.call(lambda v: v.tolist(), view[::2]) == view[::2].tolist()
    with mmap.mmap(-1, 4096) as memory:
        memory[:3] = b"abc"
        assert it.call(lambda v: bytes(v[:3]), memoryview(memory)) == b"abc"


@pytest.mark.parametrize("dtype", ["m8", "M8", "m8[us]", "i1", "S1", "f4", "?"])
def test_masked_arrays_keep_the_fill_value_of_their_type(it, dtype):
    """Also if the default is no value of the type: of m8 it is a string."""
    masked = np.ma.MaskedArray(np.zeros(3, dtype), mask=[0, 1, 0])
    got = it.call(lambda a: a, masked)
    assert masked._fill_value is None  # asking for it would set it
    assert repr(got.fill_value) == repr(masked.fill_value)


def test_results_of_every_kind_stay_in_the_workers_memory(it):
    def make():
        import pandas as pd

        masked = np.ma.MaskedArray(np.arange(6.0), mask=[0, 1] * 3)
        frame = pd.DataFrame({"x": np.arange(1000), "t": np.arange(1000).astype("M8[ns]")})
        record = np.zeros(5, [("a", "i4")]).view(np.recarray)
        index = pd.MultiIndex.from_product([range(30), range(40)])
        things = [
            masked,
            frame,
            record,
            np.ones((3, 4)).view(np.matrix),
            np.array(5.5),
            pd.Series(np.ones(9), name="s"),
            index,
        ]
        return things, [
            *map(address, (masked.data, masked.mask, frame["x"].to_numpy(), frame["t"].to_numpy(), record, things[3])),
            address(things[4]), address(things[5].to_numpy()), address(index.codes[0]),
        ]  # fmt: skip

    (masked, frame, record, matrix, scalar, series, index), places = it.call(make)
    assert places == [
        *map(address, (masked.data, masked.mask, frame["x"].to_numpy(), frame["t"].to_numpy(), record, matrix)),
        address(scalar), address(series.to_numpy()), address(index.codes[0]),
    ]  # fmt: skip
    masked[0] = record[0] = matrix[0] = scalar[...] = series[0] = 8
    frame.loc[0, "x"] = 8
    assert (masked[0], record.a[0], matrix[0, 3], scalar[()], series[0], frame["x"][0]) == (8, 8, 8, 8, 8, 8)
    assert (type(record), record.dtype.type, type(matrix)) == (np.recarray, np.record, np.matrix)


def test_numpys_own_subclasses(it):
    for array in (np.zeros(5, [("a", "i4"), ("b", "f8")]).view(np.recarray), np.ones((2, 3)).view(np.matrix).T):
        kind, place, same = it.call(lambda a, b: (type(a).__name__, address(a), a.dtype == b), array, array.dtype)
        assert (kind, place, same) == (type(array).__name__, address(array), True)
    record = np.rec.array([(1, "x")], dtype=[("a", int), ("o", object)])
    assert it.call(lambda r: (type(r) is np.recarray, r.o[0]), record) == (True, "x")


class Labelled(np.ndarray):
    """A subclass with pickling of its own."""

    def __reduce__(self):
        return make_labelled, (self.tolist(), self.label)


def make_labelled(values, label):
    array = np.array(values).view(Labelled)
    array.label = label
    return array


def test_other_subclasses_pickle_as_they_like(it):
    assert it.call(lambda a: (a.label, a.tolist()), make_labelled([1, 2], "x")) == ("x", [1, 2])
    back = it.call(bytes, np.arange(4, dtype="u1").view(Watched))
    assert back == bytes(range(4))
    assert type(it.call(lambda a: a[1:], np.ones(3).view(Watched))) is Watched


class Liar(np.ndarray):
    """An array whose attributes say what is not so."""

    base = property(lambda self: self)
    nbytes = property(lambda self: 1 << 40)
    itemsize = property(lambda self: 1 << 20)
    ctypes = property(lambda self: 1)
    data = property(lambda self: memoryview(b"other"))
    __array_interface__ = property(
        lambda self: {"version": 3, "typestr": "|u1", "shape": (1 << 40,), "data": (4096, False)}
    )

    def __len__(self):
        return 1 << 40


class Claimer:
    """An object that calls itself an array."""

    __class__ = property(lambda self: np.ndarray)
    base = None

    def __reduce__(self):
        return str, ("no array",)


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a.view(Liar),
        lambda a: a.view(Liar)[::2],
        lambda a: a.view(Liar)[2:],
        lambda a: np.ndarray.view(a.view(Liar)[2:], np.ndarray),
        lambda a: np.ndarray.view(a.view(Liar), np.ndarray)[::-2],
        lambda a: memoryview(a.view(Liar)),
    ],
)
def test_what_a_subclass_says_of_itself_does_not_count(it, make):
    """Neither of an argument nor of a result, and not of an array that another one is a view of."""
    array = np.arange(100)

    def content(thing):
        return np.ndarray.tolist(thing) if isinstance(thing, np.ndarray) else thing.tolist()

    expected = content(make(array))
    seen, back = it.call(lambda thing: (content(thing), make(np.arange(100))), make(array))
    assert seen == content(back) == expected


def test_objects_that_claim_to_be_arrays(it):
    assert it.call(lambda a: (a, Claimer()), Claimer()) == ("no array", "no array")


def test_objects_go_by_pickle(it):
    assert it.call(lambda a: a.tolist(), np.array([1, "x", None], object)) == [1, "x", None]
    mixed = np.array([(1, {"k": [2]})], [("a", int), ("o", object)])
    assert it.call(lambda a: (a["a"][0], a["o"][0]["k"]), mixed) == (1, [2])
    assert it.call(lambda a: a.tolist(), np.array([[1, "x"]], object)[:, ::-1]) == [["x", 1]]


def test_a_map_that_a_worker_made(it, tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, np.arange(1000))
    back = it.call(np.load, path, "r")
    assert back.tolist() == list(range(1000))


@pytest.mark.slow
def test_memory_stays_flat(ends_cleanly, rounds):
    ends_cleanly(
        """
        import sys
        import numpy as np
        import owngil

        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096

        with owngil.Pool(2) as pool:
            array = np.ones(10_000_000, np.uint8)
            for k in range(int(sys.argv[1])):
                futures = [pool.submit(np.negative, array[k:]) for _ in range(2)]
                for future in futures:
                    assert future.result()[-1] == 255
                if k == 200:
                    before = resident()
            del futures, future
            assert resident() - before < 50e6, (before, resident())
        """,
        str(rounds(600, 50_000)),
    )
