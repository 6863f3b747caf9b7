"""``owngil mandelbrot``: draws the Mandelbrot set with all cores, in one process."""

import argparse
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owngil._isolation.cores import usable_cores
from owngil.cli.errors import InputError
from owngil.cli.files import check_writable, write_file

if TYPE_CHECKING:
    from owngil.cli.mandelbrot.fractal import Kernel, Values, View

__all__ = ["Timing", "add_parser", "compute"]

_MOST_POINTS = 1_000_000_000  # 8 GB of values
_BACKENDS = ("interpreters", "processes", "threads", "serial")
_ROUNDS = 3  # of a comparison


def add_parser(commands: Any) -> None:
    """Add the command's options to ``owngil``'s parser."""
    parser = commands.add_parser(
        "mandelbrot",
        help="draw the Mandelbrot set in parallel sub-interpreters",
        description="Draw the Mandelbrot set by escape time with smooth colours, computed in parallel"
        " sub-interpreters, and write it as PNG.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("-o", "--output", type=Path, metavar="FILE",
        help="the picture, .png; with --frames the animation, .gif or .png (default: mandelbrot.png or .gif)",
        default=argparse.SUPPRESS)  # fmt: skip
    add("--width", type=int, default=800, metavar="N", help="points along x")
    add("--height", type=int, default=800, metavar="N", help="points along y")
    add("--xlim", type=float, nargs=2, default=[-2.0, 2.0], metavar=("A", "B"), help="first and last x")
    add("--ylim", type=float, nargs=2, default=[-2.0, 2.0], metavar=("A", "B"), help="first and last y")
    add("--max-iter", type=int, default=100, metavar="N", help="steps after which a point counts as inside")
    add("--workers", type=int, default=usable_cores(), metavar="N", help="interpreters, processes or threads")
    add("--kernel", choices=("python", "numpy"), default="numpy", help="point by point, or arrays")
    add("--backend", choices=_BACKENDS, default="interpreters", help="what runs the bands of rows")
    add("--cmap", default="hot", metavar="NAME", help="Matplotlib's name of a colour map")
    add("--save-array", type=Path, metavar="FILE", help="the values too, .npy; row 0 is the first y",
        default=argparse.SUPPRESS)  # fmt: skip
    add(
        "--compare",
        action="store_true",
        help="time all backends on the same bands, best of three rounds in turns; write a chart beside the picture",
    )
    add("--frames", type=int, metavar="N", default=argparse.SUPPRESS,
        help="draw a zoom of N frames, each by one worker, with more steps the deeper it is")  # fmt: skip
    add("--quiet", action="store_true", help="print no progress and no report")
    parser.set_defaults(run=_run, command="mandelbrot")


@dataclass(frozen=True)
class Timing:
    """How long a picture took, in seconds, until the workers were ready and from then on."""

    backend: str
    workers: int
    start_up: float
    seconds: float
    speed_up: float


def _run(options: argparse.Namespace) -> int:
    try:
        from owngil.cli.mandelbrot import drawing, fractal
    except ImportError as error:
        raise InputError(f"{error.name} is missing: pip install 'owngil[cli]'") from None
    frames: int | None = getattr(options, "frames", None)
    output: Path = getattr(options, "output", Path("mandelbrot.png" if frames is None else "mandelbrot.gif"))
    array: Path | None = getattr(options, "save_array", None)
    _check(options, frames, output, array)
    if not drawing.known_cmap(options.cmap):
        raise InputError(f"--cmap: Matplotlib has no colour map {options.cmap!r}")
    view = fractal.View(options.width, options.height, tuple(options.xlim), tuple(options.ylim), options.max_iter)
    say = (lambda text: None) if options.quiet else print

    if frames is not None:
        _animate(view, frames, output, options)
        say(f"{output}: {frames} frames")
        return 0
    if options.compare:
        busy = _busy()
        values, timings = _compare(view, options)
        say(_table(timings))
        if busy is not None:
            say(busy)
        title = f"{view.width} x {view.height} points, {options.kernel} kernel, {options.workers} workers,"
        title += f" best of {_ROUNDS} rounds"
        chart = _chart_path(output)
        write_file(chart, lambda file: drawing.draw_chart(timings, title, file))
        written = f"{output} and {chart}"
    else:
        values, timing = compute(view, options.kernel, options.backend, options.workers, _progress_for(options))
        written = f"{output}: {timing.seconds:.2f} s with {timing.workers} {options.backend}"
    if array is not None:
        import numpy as np

        write_file(array, lambda file: np.save(file, values))
    write_file(output, lambda file: drawing.draw_picture(view, values, options.cmap, file))
    say(written)
    return 0


def _chart_path(output: Path) -> Path:
    """Return where the chart of a comparison goes: beside the picture."""
    return output.with_name(f"{output.stem}-compare.png")


def _check(options: argparse.Namespace, frames: int | None, output: Path, array: Path | None) -> None:
    """Raise InputError for what cannot be done; nothing has been computed yet."""
    for name in ("width", "height", "max_iter", "workers"):
        if (value := getattr(options, name)) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be 1 or more, not {value}")
    if options.width * options.height > _MOST_POINTS:
        raise InputError(f"--width and --height must make {_MOST_POINTS:,} points or fewer")
    for name in ("xlim", "ylim"):
        low, high = getattr(options, name)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError(f"--{name} must be finite, not {low} {high}")
        if not low < high or not math.isfinite(high - low):
            raise InputError(f"--{name} must be two numbers, the smaller first and not too far apart, not {low} {high}")
    if frames is not None:
        if frames < 1:
            raise InputError(f"--frames must be 1 or more, not {frames}")
        if options.compare or array is not None:
            raise InputError("--frames makes an animation: it goes neither with --compare nor with --save-array")
        if options.backend == "threads":
            raise InputError("--frames cannot be drawn in threads: Matplotlib is not thread-safe")
    endings = (".png",) if frames is None else (".gif", ".png")
    if output.suffix.lower() not in endings:
        raise InputError(f"--output must end in {' or '.join(endings)}: {output}")
    check_writable(output)
    if options.compare:
        check_writable(_chart_path(output))
    if array is not None:
        if array.suffix != ".npy":
            raise InputError(f"--save-array must end in .npy: {array}")
        check_writable(array)


type Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]


def _no_progress(items: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    return items


def _progress_for(options: argparse.Namespace) -> Progress:
    """Return what shows a bar on stderr if that is a terminal."""
    if options.quiet or not sys.stderr.isatty():
        return _no_progress
    from tqdm import tqdm

    return lambda items, total, what: tqdm(items, total=total, desc=what, leave=False)


def compute(
    view: "View", kernel: "Kernel", backend: str, workers: int, progress: Progress = _no_progress
) -> tuple["Values", Timing]:
    """Compute a view, cut into bands, by a backend; return its values and how long it took."""
    from owngil.cli.mandelbrot.backends import open_backend
    from owngil.cli.mandelbrot.fractal import assemble, bands, compute_band

    tasks = bands(view)
    began = time.perf_counter()
    with open_backend(backend, workers) as run:
        ready = time.perf_counter()
        parts = run(partial(compute_band, kernel=kernel), tasks)
        values = assemble(view, progress(parts, len(tasks), backend))
        done = time.perf_counter()
    return values, Timing(backend, 1 if backend == "serial" else workers, ready - began, done - ready, 1.0)


def _compare(view: "View", options: argparse.Namespace) -> tuple["Values", list[Timing]]:
    """Compute a view by all backends, in rounds, so that a disturbance hits all; return the best timing of each."""
    best: dict[str, Timing] = {}
    first: Values | None = None
    for _ in range(_ROUNDS):
        for backend in reversed(_BACKENDS):
            values, timing = compute(view, options.kernel, backend, options.workers, _progress_for(options))
            if first is None:
                first = values
            elif first.tobytes() != values.tobytes():
                raise RuntimeError(f"{backend} computed other values than {next(iter(best))}")
            if backend not in best or timing.seconds < best[backend].seconds:
                best[backend] = timing
    assert first is not None
    serial = best[_BACKENDS[-1]].seconds
    return first, [replace(timing, speed_up=serial / timing.seconds) for timing in best.values()]


def _busy() -> str | None:
    """Return what to say if the machine has more to do than it has cores, so that timings mean little."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= cores:
        return None
    return f"The machine was busy before this began: a load of {load:.1f} on {cores} cores. Compare on an idle one."


def _table(timings: list[Timing]) -> str:
    lines = [
        f"Python {platform.python_version()}, {usable_cores()} cores, best of {_ROUNDS} interleaved rounds",
        f"{'backend':<14}{'workers':>8}{'start-up s':>12}{'seconds':>10}{'speed-up':>10}",
    ]
    lines += [
        f"{row.backend:<14}{row.workers:>8}{row.start_up:>12.3f}{row.seconds:>10.3f}{row.speed_up:>10.2f}"
        for row in timings
    ]
    return "\n".join(lines)


def _animate(view: "View", frames: int, output: Path, options: argparse.Namespace) -> None:
    from owngil.cli.mandelbrot.backends import open_backend
    from owngil.cli.mandelbrot.drawing import draw_frame, join_frames
    from owngil.cli.mandelbrot.fractal import zoom

    tasks = list(enumerate(zoom(view, frames)))
    with open_backend(options.backend, options.workers, ("owngil.cli.mandelbrot.drawing",)) as run:
        drawn = run(partial(_draw_numbered, draw_frame, kernel=options.kernel, cmap=options.cmap), tasks)
        pictures = dict(_progress_for(options)(drawn, frames, "frames"))
    ordered = [pictures[k] for k in range(frames)]
    write_file(output, lambda file: join_frames(ordered, output.suffix[1:].lower(), file))


def _draw_numbered(draw: Any, task: tuple[int, "View"], **options: Any) -> tuple[int, Any]:
    number, view = task
    return number, draw(view, **options)
