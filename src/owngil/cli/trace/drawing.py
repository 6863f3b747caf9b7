"""Recordings as pictures, by Matplotlib."""

from collections import defaultdict
from collections.abc import Iterable
from typing import IO, Any

from matplotlib.artist import Artist
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from owngil.cli.trace.timeline import Row, Span, Timeline

__all__ = ["draw_timeline"]

# Distinct, and none as pale as what is not a function's own time.
_COLOURS = ("#2563eb", "#ea580c", "#16a34a", "#9333ea", "#0891b2", "#ca8a04", "#db2777", "#4d7c0f", "#7c3aed")
_OTHERS = "#57534e"
_FAILED = "#dc2626"
_STYLES: dict[str, dict[str, Any]] = {
    "start-up": {"facecolor": "#e7e5e4", "edgecolor": "#a8a29e", "hatch": "////"},
    "transfer": {"facecolor": "#fde68a", "edgecolor": "#eab308"},
    "end": {"facecolor": "#f5f5f4", "edgecolor": "#a8a29e", "hatch": "\\\\\\\\"},
    "idle": {"facecolor": "#fafaf9", "edgecolor": "#d6d3d1"},
}
_LABELS = {"start-up": "start-up", "transfer": "transfer: send, pickle, unpickle", "end": "end", "idle": "idle"}
_HEIGHT = 0.72  # of a bar; a row is 1


def _colours(rows: Iterable[Row]) -> dict[str, str]:
    """Give each function a colour, those first that took most time; the rest share one."""
    seconds: dict[str, float] = defaultdict(float)
    for row in rows:
        for span in row.spans:
            if span.kind == "task":
                seconds[span.name] += span.end - span.start
    names = sorted(seconds, key=lambda name: -seconds[name])
    return {name: _COLOURS[k] if k < len(_COLOURS) else _OTHERS for k, name in enumerate(names)}


def _pale(colour: str) -> tuple[float, ...]:
    return tuple(0.55 * part + 0.45 for part in to_rgb(colour))


def _bars(axes: Any, place: int, spans: list[Span], scale: float, visible: float, least: float, **style: Any) -> None:
    """Draw spans of one look; those too narrow for an edge and a hatch get neither."""
    for wide in (True, False):
        ranges = [
            (span.start * scale, max(least, span.end - span.start) * scale)
            for span in spans
            if (span.end - span.start > visible) == wide
        ]
        look = style if wide else {"facecolor": style["facecolor"], "linewidth": 0}
        axes.broken_barh(ranges, (place - _HEIGHT / 2, _HEIGHT), **({"linewidth": 0.5} | look))


def _draw_row(axes: Any, place: int, row: Row, colours: dict[str, str], scale: float, visible: float) -> None:
    # What is narrower than a pixel is drawn a pixel wide where that does not make a row seem full.
    least = visible / 3 if len(row.spans) < 200 else 0.0
    for kind in ("idle", "start-up", "end"):
        _bars(axes, place, [span for span in row.spans if span.kind == kind], scale, visible, 0.0, **_STYLES[kind])
    tasks: dict[str, list[Span]] = defaultdict(list)
    for span in row.spans:
        if span.kind == "task":
            tasks[span.name].append(span)
    for name, spans in tasks.items():
        _bars(axes, place, spans, scale, visible, least, facecolor=colours[name], edgecolor=_pale(colours[name]))
    # Last: a worker that has a pool itself sends tasks while it runs one.
    moves = [span for span in row.spans if span.kind == "transfer"]
    _bars(axes, place, moves, scale, visible, least, **_STYLES["transfer"])
    failed = [span.end * scale for span in row.spans if span.failed]
    axes.plot(failed, [place] * len(failed), "x", color=_FAILED, markersize=5, markeredgewidth=1.4)


def _legend(figure: Figure, timeline: Timeline, colours: dict[str, str]) -> None:
    handles: list[Artist] = [
        Patch(facecolor=colour, label=name) for name, colour in colours.items() if colour != _OTHERS
    ]
    others = len(colours) - len(handles)
    if others:
        handles.append(Patch(facecolor=_OTHERS, label=f"{others} other functions"))
    kinds = {span.kind for row in timeline.rows for span in row.spans}
    handles += [Patch(linewidth=0.5, label=_LABELS[kind], **_STYLES[kind]) for kind in _STYLES if kind in kinds]
    if any(span.failed for row in timeline.rows for span in row.spans):
        handles.append(Line2D([], [], color=_FAILED, marker="x", linestyle="", label="it raised"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)


def _draw_queues(axes: Any, timeline: Timeline, scale: float) -> None:
    for (name, points), colour in zip(timeline.queues.items(), ("#78716c", *_COLOURS), strict=False):
        times = [point[0] * scale for point in points]
        counts = [point[1] for point in points]
        times, counts = [*times, timeline.end * scale], [*counts, counts[-1]]
        axes.fill_between(times, counts, step="post", color=colour, alpha=0.35, linewidth=0)
        axes.step(times, counts, where="post", color=colour, linewidth=0.8, label=name.removesuffix(": tasks queued"))
    axes.set_ylabel("tasks\nqueued", fontsize=8, rotation=0, ha="right", va="center")
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.tick_params(labelsize=8)
    axes.set_ylim(bottom=0)
    if len(timeline.queues) > 1:
        axes.legend(fontsize=7, frameon=False, loc="upper right", ncols=3)


def draw_timeline(timeline: Timeline, form: str, file: IO[bytes]) -> None:
    """Write a picture: a row for each worker and thread, and below them how many tasks wait.

    Parameters
    ----------
    timeline : Timeline
    form : str
        ``png``, ``svg`` or ``pdf``.
    file : binary file
    """
    rows = timeline.rows
    colours = _colours(rows)
    scale, unit = (1.0, "s") if timeline.end - timeline.start >= 1 else (1000.0, "ms")
    row_height = min(0.36, max(0.13, 9 / len(rows)))  # inches
    queue_height = 0.8 if timeline.queues else 0.01
    figure = Figure(figsize=(11, 1.6 + row_height * len(rows) + queue_height), dpi=120, layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[row_height * len(rows), queue_height])
    visible = (timeline.end - timeline.start) / 400  # narrower is drawn without edges

    for place, row in enumerate(rows):
        _draw_row(axes, place, row, colours, scale, visible)
    axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=max(5.0, min(9.0, row_height * 30)))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(timeline.start * scale, timeline.end * scale)
    axes.tick_params(axis="y", length=0)
    axes.set_title(timeline.title, fontsize=11)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    if timeline.queues:
        _draw_queues(below, timeline, scale)
        below.set_xlabel(f"time in {unit}", fontsize=9)
        for side in ("top", "right"):
            below.spines[side].set_visible(False)
    else:
        below.set_visible(False)
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(f"time in {unit}", fontsize=9)
    _legend(figure, timeline, colours)
    figure.savefig(file, format=form)
