"""The Mandelbrot set by escape time, in two kernels that give the same numbers.

Point c is iterated, z -> z**2 + c from 0, until |z| > 2 after n steps or n reaches `max_iter`. Its value is `max_iter`
then, and otherwise n + 1 - log(log2|z|): a smooth number of steps.

Beyond 1e154 a square is infinite, and so is log2|z|: the value is minus infinity.

Whether a point near the set escapes hangs on the last bit, so both kernels do the same operations on real numbers in
the same order, each of which IEEE 754 rounds in one way. (Complex products may be fused in NumPy and not in Python.)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Band", "Kernel", "Values", "View", "assemble", "bands", "compute_band", "never", "zoom"]

type Kernel = Literal["python", "numpy"]
type Values = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """A part of the plane, and the points to compute.

    Attributes
    ----------
    width, height : int
        Points along x and y, at least 1.
    xlim, ylim : tuple of float
        First and last coordinate; row 0 is at the first y.
    max_iter : int
        Steps after which a point counts as inside, at least 1.
    """

    width: int
    height: int
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    max_iter: int


@dataclass(frozen=True)
class Band:
    """Rows ``first`` to ``last``, without the latter, of a view: one task."""

    view: View
    first: int
    last: int


def bands(view: View, count: int = 64) -> list[Band]:
    """Cut a view into about `count` bands.

    Rows through the set cost tens of times more than those outside, so that there are many more bands than workers.
    """
    rows = max(1, math.ceil(view.height / count))
    return [Band(view, first, min(first + rows, view.height)) for first in range(0, view.height, rows)]


_STEPS_BETWEEN_STOPS = 100_000  # about ten milliseconds in Python


def never() -> bool:
    """Say that nothing is to be stopped."""
    return False


def compute_band(band: Band, kernel: Kernel, stop: Callable[[], bool] = never) -> tuple[Band, Values]:
    """Compute the values of a band.

    Parameters
    ----------
    band : Band
        The rows.
    kernel : {"python", "numpy"}
        Point by point in Python, or all points of the band at once in NumPy.
    stop : callable, optional
        Asked often; when it returns True, KeyboardInterrupt is raised.

    Returns
    -------
    band : Band
        The same.
    values : ndarray of float64, shape (rows, width)
    """
    view = band.view
    x = np.linspace(*view.xlim, view.width)
    y = np.linspace(*view.ylim, view.height)[band.first : band.last]
    compute = {"python": _python_kernel, "numpy": _numpy_kernel}[kernel]
    return band, compute(x, y, view.max_iter, stop)


def _escape_time(x: float, y: float, max_iter: int, stop: Callable[[], bool]) -> float:
    a = b = a2 = b2 = 0.0
    n = 0
    while a2 + b2 <= 4.0 and n < max_iter:
        if stop():
            raise KeyboardInterrupt
        pause = min(n + _STEPS_BETWEEN_STOPS, max_iter)
        while a2 + b2 <= 4.0 and n < pause:
            b = 2.0 * a * b + y
            a = a2 - b2 + x
            a2 = a * a
            b2 = b * b
            n += 1
    if n == max_iter:
        return float(max_iter)
    return n + 1 - math.log(math.log2(math.sqrt(a2 + b2)))


def _python_kernel(x: Values, y: Values, max_iter: int, stop: Callable[[], bool]) -> Values:
    values = np.empty((len(y), len(x)))
    columns = x.tolist()
    for row, at in enumerate(y.tolist()):
        for column, across in enumerate(columns):
            values[row, column] = _escape_time(across, at, max_iter, stop)
    return values


def _numpy_kernel(x: Values, y: Values, max_iter: int, stop: Callable[[], bool]) -> Values:
    values = np.full(len(x) * len(y), float(max_iter))
    left: NDArray[np.intp] = np.arange(len(values))  # the indices of the points that have not escaped
    across: Values = np.tile(x, len(y))
    at: Values = np.repeat(y, len(x))
    a, b, a2, b2 = np.zeros((4, len(values)))
    for n in range(1, max_iter):
        if stop():
            raise KeyboardInterrupt
        b = 2.0 * a * b + at
        a = a2 - b2 + across
        with np.errstate(over="ignore"):  # the user may give any limits, and squares beyond 1e154 are infinite
            a2 = a * a
            b2 = b * b
            size = a2 + b2
        escaped = size > 4.0
        if escaped.any():
            values[left[escaped]] = n + 1 - np.log(np.log2(np.sqrt(size[escaped])))
            keep = ~escaped
            if not keep.any():
                break
            left, across, at = left[keep], across[keep], at[keep]
            a, b, a2, b2 = a[keep], b[keep], a2[keep], b2[keep]
    return values.reshape(len(y), len(x))


# A point on the edge of the set with spirals all the way down; see "Seahorse Valley" in any book on fractals.
_TARGET = (-0.743643887037151, 0.131825904205330)
_SHRINK = 0.85
_SMALLEST = 1e-12  # of the first frame: below, neighbouring points become one float64


def zoom(view: View, frames: int) -> list[View]:
    """Return the views of a zoom into the first one; deeper ones get more iterations, as they need them.

    The zoom goes towards a point of the Seahorse Valley if `view` shows it, else towards the middle.
    """
    (x0, x1), (y0, y1) = view.xlim, view.ylim
    inside = x0 <= _TARGET[0] <= x1 and y0 <= _TARGET[1] <= y1
    tx, ty = _TARGET if inside else ((x0 + x1) / 2, (y0 + y1) / 2)
    shrink = max(_SHRINK, _SMALLEST ** (1 / max(1, frames - 1)))
    views = []
    for frame in range(frames):
        scale = shrink**frame

        def limits(low: float, high: float, target: float, scale: float = scale) -> tuple[float, float]:
            return target - (target - low) * scale, target + (high - target) * scale

        deeper = round(view.max_iter * (1 - math.log2(scale) / 8))
        views.append(View(view.width, view.height, limits(x0, x1, tx), limits(y0, y1, ty), deeper))
    return views


def assemble(view: View, parts: Any) -> Values:
    """Put computed bands, in any order, into one array of shape (height, width)."""
    values = np.empty((view.height, view.width))
    for band, rows in parts:
        values[band.first : band.last] = rows
    return values
