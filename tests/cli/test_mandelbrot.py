import contextlib
import errno
import math
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from patience import HANGS_AFTER, wait_until
from PIL import Image, ImageSequence

from owngil.cli import main
from owngil.cli.mandelbrot import command, drawing

BACKENDS = ("serial", "threads", "processes", "interpreters")
KERNELS = ("python", "numpy")
COMMAND = [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-m", "owngil", "mandelbrot"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Change to an empty folder, so that it holds only the files that a command writes by default."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exit_code(*arguments):
    """Run the command in this process and return its exit code; argparse exits, the rest returns."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


def mandelbrot(*arguments):
    assert exit_code("mandelbrot", *arguments) == 0


def values_of(*arguments):
    """Return the array that the command saves."""
    path = Path("values.npy")
    mandelbrot("--backend", "serial", "--save-array", path, *arguments)
    return np.load(path)


def numbers(low, high):
    """Return limits as arguments without exponent; test_limits_may_have_an_exponent tests those."""
    return [f"{low:.0f}", f"{high:.0f}"]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).copy()


def frames_of(path):
    with Image.open(path) as image:
        return image.format, [np.asarray(frame.convert("RGB")).copy() for frame in ImageSequence.Iterator(image)]


# Values


@pytest.mark.parametrize("kernel", KERNELS)
def test_backends_give_the_same_bits(here, kernel):
    # 131 rows make 43 bands of three rows and one band of two.
    view = ["--width", "70", "--height", "131", "--xlim", "-0.8", "-0.7", "--ylim", "0", "0.15", "--workers", "2"]
    running = [
        subprocess.Popen(
            [*COMMAND, *view, "--quiet", "--kernel", kernel, "--backend", backend,
             "-o", f"{backend}.png", "--save-array", f"{backend}.npy"],
            cwd=here,
        )
        for backend in BACKENDS
    ]  # fmt: skip
    assert [process.wait(300) for process in running] == [0] * 4
    serial, *others = [np.load(f"{backend}.npy") for backend in BACKENDS]
    assert serial.shape == (131, 70)
    assert [other.tobytes() == serial.tobytes() for other in others] == [True] * 3


@pytest.mark.parametrize(
    "view",
    [
        ["--width", "200", "--height", "150"],
        ["--width", "90", "--height", "80", "--max-iter", "500",
         "--xlim", "-0.74365", "-0.74363", "--ylim", "0.13181", "0.13183"],
        ["--width", "64", "--height", "1", "--ylim", "0", "1"],
        ["--width", "1", "--height", "64", "--xlim", "-1", "1"],
        ["--width", "9", "--height", "9", "--max-iter", "1"],
        ["--width", "9", "--height", "9", "--max-iter", "2"],
        ["--width", "31", "--height", "21", "--xlim", *numbers(-1e200, 1e200), "--ylim", *numbers(-1e200, 1e200)],
        ["--width", "31", "--height", "21", "--xlim", "0", "1e100", "--ylim", "0", "1e100"],
    ],
    ids=["default", "deep", "one-row", "one-column", "one-step", "two-steps", "1e200", "1e100"],
)  # fmt: skip
def test_kernels_agree(view):
    python, numpy = (values_of("--kernel", kernel, *view) for kernel in KERNELS)
    assert python.dtype == numpy.dtype == np.float64
    np.testing.assert_allclose(numpy, python, rtol=0, atol=1e-9)


def test_limits_may_have_an_exponent():
    values = values_of("--width", 5, "--height", 4, "--xlim", "-1e200", "1e200", "--ylim", "-1e-3", "1e-3")
    assert values.shape == (4, 5)


def reference(c, max_iter):
    """Return the steps and the value of a point, from the definition."""
    z = 0j
    for n in range(1, max_iter):
        z = z * z + c
        if abs(z) > 2:
            return n, n + 1 - math.log(math.log2(abs(z)))
    return max_iter, max_iter


@pytest.mark.parametrize("kernel", KERNELS)
def test_values_are_smooth_escape_times(kernel):
    max_iter = 80
    values = values_of("--kernel", kernel, "--width", 47, "--height", 33, "--max-iter", max_iter,
                       "--xlim", "-2.3", "1.1", "--ylim", "-0.4", "1.7")  # fmt: skip
    outside = inside = 0
    for row, y in enumerate(np.linspace(-0.4, 1.7, 33).tolist()):
        for column, x in enumerate(np.linspace(-2.3, 1.1, 47).tolist()):
            c = complex(x, y)
            n, value = reference(c, max_iter)
            # Rounding errors grow up to fourfold a step; these two discs are well inside the set.
            if n <= 12:
                outside += 1
                assert values[row, column] == pytest.approx(value, rel=0, abs=1e-6)
            elif abs(c) < 0.24 or abs(c + 1) < 0.24:
                inside += 1
                assert values[row, column] == max_iter
    assert outside > 500
    assert inside > 30


def test_row_0_is_the_first_y_and_column_0_the_first_x():
    values = values_of("--width", 3, "--height", 2, "--xlim", "-3", "0", "--ylim", "0", "5")
    places = [[complex(x, y) for x in (-3, -1.5, 0)] for y in (0, 5)]
    np.testing.assert_allclose(values, [[reference(c, 100)[1] for c in row] for row in places])


# Output


def test_defaults(here):
    mandelbrot("--save-array", "default.npy")
    assert {path.name for path in here.iterdir()} == {"mandelbrot.png", "default.npy"}
    spelt_out = values_of("--width", 800, "--height", 800, "--xlim", -2, 2, "--ylim", -2, 2, "--max-iter", 100)
    np.testing.assert_array_equal(np.load("default.npy"), spelt_out)


def test_the_picture_opens_and_shows_something(here):
    mandelbrot("--backend", "serial", "--width", 60, "--height", 50)
    with Image.open("mandelbrot.png") as image:
        assert image.format == "PNG"
    # The colours of the set and of its surroundings, besides the black and white of axes.
    assert len(np.unique(pixels("mandelbrot.png").reshape(-1, 3), axis=0)) > 50


def test_cmap_changes_the_colours():
    for cmap in ("hot", "viridis"):
        mandelbrot("--backend", "serial", "--width", 40, "--height", 40, "--cmap", cmap, "-o", f"{cmap}.png")
    assert not np.array_equal(pixels("hot.png"), pixels("viridis.png"))


def test_output_elsewhere(here):
    (here / "folder").mkdir()
    mandelbrot("--backend", "serial", "--width", 40, "--height", 40, "--output", here / "folder" / "a.PNG")
    assert [path.name for path in here.iterdir()] == ["folder"]
    assert [path.name for path in (here / "folder").iterdir()] == ["a.PNG"]


def test_the_report_names_the_file_and_the_backend(capsys):
    mandelbrot("--backend", "threads", "--workers", 3, "--width", 40, "--height", 40, "-o", "a.png")
    out = capsys.readouterr().out
    assert out.startswith("a.png: ")
    assert out.endswith("with 3 threads\n")


def test_compare_prints_a_table_and_draws_a_chart(here):
    done = subprocess.run(
        [*COMMAND, "--compare", "--width", "60", "--height", "50", "--workers", "2", "-o", "a.png"],
        cwd=here, capture_output=True, text=True, timeout=HANGS_AFTER,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    about, header, *rows, last = [line for line in done.stdout.splitlines() if not line.startswith("The machine was")]
    assert about.endswith("best of 3 interleaved rounds")
    assert header.split()[:2] == ["backend", "workers"]
    cells = [row.split() for row in rows]
    assert [(row[0], row[1]) for row in cells] == list(zip(BACKENDS, "1222", strict=True))
    assert all(float(cell) >= 0 for row in cells for cell in row[2:])
    assert last == "a.png and a-compare.png"
    assert {path.name for path in here.iterdir()} == {"a.png", "a-compare.png"}
    assert len(np.unique(pixels("a-compare.png").reshape(-1, 3), axis=0)) > 3


@pytest.mark.parametrize(("load", "is_busy"), [(0.5, False), (3.99, False), (4.01, True)])
def test_compare_says_that_the_machine_is_busy(capsys, monkeypatch, load, is_busy):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 9.0))
    monkeypatch.setattr("owngil.cli.mandelbrot.command._BACKENDS", ("threads", "serial"))
    mandelbrot("--compare", "--width", 9, "--height", 8)
    assert ("a load of 4.0 on 4 cores" in capsys.readouterr().out) == is_busy


def test_compare_takes_the_best_of_rounds_in_turns(capsys, monkeypatch):
    asked = []
    seconds = iter([8.0, 4.0, 7.0, 2.0, 9.0, 3.0])

    def timed(view, kernel, backend, workers, progress):
        asked.append(backend)
        return np.zeros((2, 2)), command.Timing(backend, 1, 0.5, next(seconds), 1.0)

    monkeypatch.setattr(command, "compute", timed)
    monkeypatch.setattr(command, "_BACKENDS", ("threads", "serial"))
    mandelbrot("--compare", "--width", 2, "--height", 2)
    assert asked == ["serial", "threads"] * 3
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:4]]
    assert rows == [["serial", "1", "0.500", "7.000", "1.00"], ["threads", "1", "0.500", "2.000", "3.50"]]


def test_the_charts_legend_covers_nothing():
    rows = [command.Timing(name, 2, 0.3, seconds, 1.0) for name, seconds in zip(BACKENDS, (1, 2, 3, 4), strict=True)]
    figure = drawing._chart(rows, "title")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    (axes,) = figure.axes
    place = legend.get_window_extent()
    assert not place.overlaps(axes.get_window_extent())
    assert not any(place.overlaps(text.get_window_extent()) for text in [*axes.texts, axes.title, axes.xaxis.label])


@pytest.mark.parametrize(
    ("options", "name", "form"), [([], "mandelbrot.gif", "GIF"), (["-o", "zoom.png"], "zoom.png", "PNG")]
)
def test_frames(here, options, name, form):
    mandelbrot("--frames", 3, "--width", 50, "--height", 40, "--max-iter", 30, "--workers", 2, *options)
    assert [path.name for path in here.iterdir()] == [name]
    found, (first, second, third) = frames_of(name)
    assert found == form
    assert first.std() > 0
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def test_one_frame():
    mandelbrot("--frames", 1, "--backend", "serial", "--width", 30, "--height", 30)
    assert len(frames_of("mandelbrot.gif")[1]) == 1


@pytest.mark.parametrize("more", [[], ["--compare"], ["--frames", "2"]], ids=["picture", "compare", "frames"])
def test_quiet_prints_nothing(here, more):
    done = subprocess.run(
        [*COMMAND, "--quiet", "--width", "40", "--height", "40", "--workers", "1", *more],
        cwd=here, capture_output=True, text=True, timeout=HANGS_AFTER,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Bad input


BAD = [
    *([f"--{name}", value] for name in ("width", "height", "max-iter", "workers", "frames")
      for value in ("0", "-3", "1.5", "many", "")),
    *([f"--{name}", *limits] for name in ("xlim", "ylim")
      for limits in (["1", "-1"], ["1", "1"], ["nan", "1"], ["0", "nan"], ["0", "inf"], ["-inf", "0"], ["0", "x"],
                     ["0"], numbers(-1.7e308, 1.7e308))),
    ["--cmap", "nonesuch"],
    ["--width", "99999999999", "--height", "9999999999"],
    ["--backend", "nonesuch"],
    ["--kernel", "nonesuch"],
    ["--nonesuch"],
    ["nonesuch"],
    ["--output", "missing/a.png"],
    ["--output", "a.jpg"],
    ["--output", "a"],
    ["--output", "a.gif"],
    ["--output", ""],
    ["--save-array", "missing/a.npy"],
    ["--save-array", "a.txt"],
    ["--save-array", ""],
    ["--frames", "2", "--output", "a.jpg"],
    ["--frames", "2", "--output", "missing/a.gif"],
    ["--frames", "2", "--compare"],
    ["--frames", "2", "--save-array", "a.npy"],
    ["--frames", "2", "--backend", "threads"],
]  # fmt: skip


def assert_refused(capsys, *arguments):
    assert exit_code(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("owngil")
    assert err.count("\n") == 1
    assert err.endswith("\n")


@pytest.mark.parametrize("arguments", BAD, ids=lambda arguments: " ".join(arguments)[:50])
def test_bad_input_is_refused(here, capsys, arguments):
    assert_refused(capsys, "mandelbrot", *arguments)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["nonesuch"]], ids=["none", "unknown"])
def test_a_command_is_needed(here, capsys, arguments):
    assert_refused(capsys, *arguments)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "arguments"),
    [
        ("a.png", ["--output", "a.png"]),
        ("a.npy", ["--save-array", "a.npy"]),
        ("a.gif", ["--frames", "2", "--output", "a.gif"]),
        ("a-compare.png", ["--compare", "--output", "a.png"]),
    ],
    ids=["output", "save-array", "frames", "chart"],
)
def test_a_folder_is_no_output(here, capsys, folder, arguments):
    (here / folder).mkdir()
    assert_refused(capsys, "mandelbrot", "--width", "9", "--height", "9", *arguments)
    assert [path.name for path in here.rglob("*")] == [folder]


def test_a_file_is_no_folder_for_the_output(here, capsys):
    (here / "file").touch()
    assert_refused(capsys, "mandelbrot", "--output", "file/a.png")
    assert [path.name for path in here.iterdir()] == ["file"]


def test_bad_input_is_refused_by_the_process_too(here):
    done = subprocess.run([*COMMAND, "--width", "0"], cwd=here, capture_output=True, text=True, timeout=HANGS_AFTER)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


# Failure after work began


def fail_half_way(*arguments):
    *_, file = arguments
    file.write(b"half a pict")
    file.flush()
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", ["draw_picture", "draw_chart", "join_frames"])
def test_a_failure_leaves_no_partial_file(here, monkeypatch, name):
    more = {"draw_picture": [], "draw_chart": ["--compare"], "join_frames": ["--frames", 2]}[name]
    monkeypatch.setattr(drawing, name, fail_half_way)
    if more == ["--compare"]:  # the drawing fails here, not the other backends
        monkeypatch.setattr("owngil.cli.mandelbrot.command._BACKENDS", ("threads", "serial"))
    with contextlib.suppress(OSError):
        assert exit_code("mandelbrot", "--backend", "serial", "--width", 9, "--height", 9, *more) == 1
    assert list(here.iterdir()) == []


def test_a_failure_leaves_the_former_output_unchanged(here, monkeypatch):
    Path("a.png").write_bytes(b"former")
    monkeypatch.setattr(drawing, "draw_picture", fail_half_way)
    with contextlib.suppress(OSError):
        assert exit_code("mandelbrot", "--backend", "serial", "--width", 9, "--height", 9, "-o", "a.png") == 1
    assert [(path.name, path.read_bytes()) for path in here.iterdir()] == [("a.png", b"former")]


def test_a_new_output_replaces_the_former(here):
    Path("a.png").write_bytes(b"former")
    mandelbrot("--backend", "serial", "--width", 9, "--height", 9, "-o", "a.png")
    assert pixels("a.png").size > 0
    assert [path.name for path in here.iterdir()] == ["a.png"]


# Terminals


class OnTerminal:
    """The command in a session of its own, with a terminal as its stderr."""

    def __init__(self, folder, *arguments):
        self._terminal, other_end = pty.openpty()
        termios.tcsetwinsize(other_end, (24, 80))  # a new terminal has no columns, and tqdm shows nothing there
        # If sh runs pytest in the background, pytest ignores SIGINT, and the command would inherit that.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=other_end,
                start_new_session=True,
                env={**os.environ, "TQDM_MININTERVAL": "0"},  # the bar moves with every band
            )
        finally:
            signal.signal(signal.SIGINT, before)
            os.close(other_end)
        self.shown = b""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(HANGS_AFTER)
        os.close(self._terminal)

    def read(self, until=None):
        """Read until a text is shown, or to the end."""
        while until is None or until not in self.shown:
            assert select.select([self._terminal], [], [], HANGS_AFTER)[0], self.shown.decode()
            try:
                more = os.read(self._terminal, 4096)
            except OSError as error:
                if error.errno != errno.EIO:  # Linux's error when the other end is closed
                    raise
                more = b""
            if not more:
                assert until is None, self.shown.decode()
                break
            self.shown += more
        return self.shown

    def members(self):
        """Return the ticks of processor time that each process of the session has used; zombies are left out."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session, *rest = path.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # the process ended meanwhile
            if int(session) == self.process.pid and state != "Z":
                found[int(path.parent.name)] = int(rest[7]) + int(rest[8])
        return found


SMALL = ["--width", "40", "--height", "40", "--workers", "1"]


@pytest.mark.parametrize("more", [[], ["--frames", "2"]], ids=["picture", "frames"])
def test_a_terminal_shows_progress(here, more):
    with OnTerminal(here, *SMALL, *more) as command:
        assert b"0%|" in command.read()
        assert command.process.wait(HANGS_AFTER) == 0


def test_a_quiet_command_shows_no_progress(here):
    with OnTerminal(here, *SMALL, "--quiet") as command:
        assert command.read() == b""
        assert command.process.wait(HANGS_AFTER) == 0


def test_no_progress_where_stderr_is_no_terminal(capsys):
    mandelbrot(*SMALL)
    assert capsys.readouterr().err == ""


# Ctrl-C

# A picture that would take hours. Its first bands, outside the set, take a moment.
ENDLESS = ["--width", "3000", "--height", "3000", "--max-iter", "100000", "--workers", "2", "--save-array", "a.npy"]
ENDLESS_FRAMES = ["--width", "3000", "--height", "3000", "--max-iter", "100000", "--workers", "2", "--frames", "3"]


def assert_ctrl_c_ends(command, folder):
    used = sum(command.members().values())
    enough = os.sysconf("SC_CLK_TCK") // 5
    wait_until(lambda: sum(command.members().values()) >= used + enough)  # the workers are at work
    os.killpg(command.process.pid, signal.SIGINT)  # as terminals do
    shown = command.read().decode()
    assert command.process.wait(HANGS_AFTER) == 130
    assert "Traceback" not in shown, shown
    assert "interrupted" in shown
    assert list(folder.iterdir()) == []
    wait_until(lambda: not command.members())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_ends_a_picture(here, backend, kernel):
    with OnTerminal(here, *ENDLESS, "--backend", backend, "--kernel", kernel) as command:
        command.read(until=b"1/64")
        assert_ctrl_c_ends(command, here)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("backend", ["serial", "processes", "interpreters"])
def test_ctrl_c_ends_an_animation(here, backend, kernel):
    with OnTerminal(here, *ENDLESS_FRAMES, "--backend", backend, "--kernel", kernel) as command:
        command.read(until=b"0%|")
        assert_ctrl_c_ends(command, here)
