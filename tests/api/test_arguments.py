"""Arguments that are lent are read-only, and errors say so; arguments that are copied can be written to."""

import numpy as np
import pytest

import owngil


def fill(array):
    array[:] = 7
    return float(array.sum())


def test_copied_arguments_can_be_written_to():
    mine = np.ones(100_000)
    nested = {"a": [mine, mine[::2]], "b": memoryview(bytearray(300_000)), "c": bytes(300_000)}

    def write(nested):
        for array in nested["a"]:
            array += 1
        nested["b"][0] = 5
        return nested["a"][0][0], nested["a"][1][0], nested["b"][0], len(nested["c"])

    with owngil.Pool(2, arguments="copy") as pool:
        assert pool.submit(fill, mine).result() == 700_000
        assert list(pool.map(fill, [mine] * 4)) == [700_000] * 4
        assert pool.broadcast(fill, mine) == [700_000] * 2
        assert pool.submit(write, nested).result() == (2, 2, 5, 300_000)
    assert mine.min() == mine.max() == 1
    assert nested["b"][0] == 0


def test_an_executor_copies_arguments_as_the_standard_one_does():
    mine = np.ones(100_000)
    with owngil.InterpreterPoolExecutor(1) as executor:
        assert executor.submit(fill, mine).result() == 700_000
    assert mine.max() == 1


def test_shared_arrays_stay_shared():
    shared = owngil.zeros(1000)
    with owngil.Pool(1, arguments="copy") as pool:
        pool.submit(fill, shared).result()
    assert shared.min() == 7


def test_a_task_that_runs_in_place_has_copies_too():
    def outer(pool, array):
        return pool.submit(fill, array).result()

    with owngil.Pool(1, arguments="copy") as pool:
        assert pool.submit(outer, pool, np.ones(1000)).result() == 7000


def test_frames_can_be_written_to():
    pandas = pytest.importorskip("pandas")

    def change(frame):
        frame.loc[frame.x > 500, "x"] *= 2
        frame["y"] = 1
        return frame

    frame = pandas.DataFrame({"x": np.arange(1000.0), "z": np.arange(1000)})
    with owngil.Pool(1, arguments="copy") as pool:
        changed = pool.submit(change, frame).result()
    assert (changed.x.max(), changed.y.sum(), frame.x.max(), list(frame)) == (1998, 1000, 999, ["x", "z"])


def test_another_word_is_an_error():
    with pytest.raises(ValueError, match="arguments must be 'lend' or 'copy', not 'move'"):
        owngil.Pool(1, arguments="move")


def convert(array):
    try:
        array[0] = 1
    except ValueError as error:
        raise RuntimeError("the library failed") from error


def sort_in_place(array):
    array.sort()


def write_to_view(view):
    view[0] = 1


def write_with_out(array):
    np.add(array, 1, out=array)


@pytest.mark.parametrize("task", [fill, convert, sort_in_place, write_with_out, write_to_view])
@pytest.mark.parametrize("how", ["submit", "map"])
def test_errors_of_writing_name_the_remedies(pool, task, how):
    argument = memoryview(bytearray(100)) if task is write_to_view else np.ones(100)
    with pytest.raises((ValueError, RuntimeError, TypeError)) as caught:
        if how == "submit":
            pool.submit(task, argument).result()
        else:
            list(pool.map(task, [argument]))
    (note,) = caught.value.__notes__
    assert "owngil lends arguments" in note
    assert "arguments='copy'" in note
    assert note in caught.value.__cause__.text


def test_other_errors_get_no_note(pool):
    with pytest.raises(ZeroDivisionError) as caught:
        pool.submit(divmod, 1, 0).result()
    assert not hasattr(caught.value, "__notes__")
