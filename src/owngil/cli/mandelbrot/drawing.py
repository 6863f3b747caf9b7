"""Pictures by Matplotlib: without pyplot, so that it works in any thread and any interpreter."""

from collections.abc import Callable
from typing import IO, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from owngil.cli.mandelbrot.fractal import Band, Kernel, View, compute_band, never

__all__ = ["draw_chart", "draw_frame", "draw_picture", "join_frames", "known_cmap"]

_DPI = 100


def known_cmap(name: str) -> bool:
    """Return whether Matplotlib has a colour map of that name."""
    return name in colormaps


def _figure(view: View, values: NDArray[np.float64], cmap: str) -> Figure:
    figure = Figure(figsize=(8, 7), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap=cmap, extent=(*view.xlim, *view.ylim), origin="lower", aspect="auto")
    if (view.xlim[1] - view.xlim[0]) / (view.ylim[1] - view.ylim[0]) < 20 and view.width > 1 and view.height > 1:
        axes.set_aspect("equal")
    axes.set_title("Mandelbrot set")
    axes.set_xlabel("Re c")
    axes.set_ylabel("Im c")
    figure.colorbar(image, label="steps to escape")
    return figure


def draw_picture(view: View, values: NDArray[np.float64], cmap: str, file: IO[bytes]) -> None:
    """Write the picture of `values`, shape (height, width), as PNG."""
    _figure(view, values, cmap).savefig(file, format="png")


def draw_frame(view: View, kernel: Kernel, cmap: str, stop: Callable[[], bool] = never) -> NDArray[np.uint8]:
    """Draw a view; return the picture, shape (height, width, 3) in pixels. For `stop` see `compute_band`."""
    _, values = compute_band(Band(view, 0, view.height), kernel, stop)
    canvas = FigureCanvasAgg(_figure(view, values, cmap))
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.array(canvas.buffer_rgba())[:, :, :3]  # type: ignore[no-untyped-call]


def join_frames(pictures: list[NDArray[np.uint8]], form: str, file: IO[bytes]) -> None:
    """Write pictures as an animation that repeats; `form` is "gif" or "png"."""
    first, *rest = [Image.fromarray(picture) for picture in pictures]
    first.save(file, format=form, save_all=True, append_images=rest, duration=120, loop=0)


def _chart(rows: list[Any], title: str) -> Figure:
    figure = Figure(figsize=(8, 3.2), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    names = [row.backend for row in rows]
    axes.barh(names, [row.seconds for row in rows], color="#c2410c", label="the picture")
    axes.barh(names, [row.start_up for row in rows], left=[row.seconds for row in rows], color="#fdba74",
              label="start-up")  # fmt: skip
    longest = max(row.seconds + row.start_up for row in rows)
    for k, row in enumerate(rows):
        axes.text(row.seconds + row.start_up + longest / 100, k, f"{row.speed_up:.2f}x", va="center")
    axes.set_xlim(0, longest * 1.12)
    axes.invert_yaxis()
    axes.set_xlabel("seconds; the number is the picture's speed-up over serial")
    axes.set_title(title)
    figure.legend(loc="outside right upper")  # beside the axes, where it covers no number
    return figure


def draw_chart(rows: list[Any], title: str, file: IO[bytes]) -> None:
    """Write the bar chart of a comparison as PNG: a bar for each backend."""
    _chart(rows, title).savefig(file, format="png")
