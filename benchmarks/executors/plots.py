"""The results of ``bench.py`` as a picture."""

from typing import IO, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from executors.measures import LENGTHS
from executors.report import short

__all__ = ["draw"]

_DPI = 110
_OWN = "#c2410c"
_OTHERS = ("#1d4ed8", "#0f766e", "#7c3aed", "#64748b", "#0891b2", "#65a30d", "#be185d", "#a16207", "#475569", "#000000")

type Records = dict[str, dict[str, Any]]


def draw(report: dict[str, Any], file: IO[bytes]) -> None:
    """Write the figures as PNG: bars and lines of medians for each executor; whiskers show minimum and maximum."""
    records: Records = {name: record for name, record in report["executors"].items() if record.get("figures")}
    colors = dict(zip((name for name in records if name != "owngil"), _OTHERS, strict=False)) | {"owngil": _OWN}
    figure = Figure(figsize=(14, 12), dpi=_DPI, layout="constrained")
    axes = figure.subplots(3, 3)
    bars = [
        (axes[0, 0], "latency p50", "latency of a task, p50", "µs (less is better)"),
        (axes[0, 1], "submit", "submit, no-ops", "tasks per second (more is better)"),
        (axes[0, 2], "map", "map, no-ops, default chunks", "items per second (more is better)"),
        (axes[1, 0], "numpy ready", "start-up until NumPy is imported", "ms (less is better)"),
        (axes[1, 1], "memory", "memory of a worker with NumPy (PSS)", "MiB (less is better)"),
        (axes[1, 2], "channel p50", "round trip between two workers, p50", "µs (less is better)"),
    ]
    for place, key, title, label in bars:
        _bars(place, records, colors, key, title, label, log=key != "memory")
    sizes: list[int] = report["settings"]["sizes"]
    _lines(axes[2, 0], records, colors, [(size, f"in {size} MB") for size in sizes],
           "an array as argument", "MB", "ms")  # fmt: skip
    axes[2, 0].set_yscale("log")
    axes[2, 0].set_xscale("log")
    _lines(axes[2, 1], records, colors, [(length, f"tasks of {length:g} s") for length in LENGTHS],
           "where an executor pays off", "seconds of a task", "speed-up over a loop")  # fmt: skip
    axes[2, 1].set_xscale("log")
    axes[2, 1].axhline(1, color="black", linewidth=0.8)
    scaling: list[int] = report["settings"]["scaling"]
    _lines(axes[2, 2], records, colors, [(count, f"{count} workers") for count in scaling],
           "tasks of 10 ms, by number of workers", "workers", "speed-up over a loop")  # fmt: skip
    axes[2, 2].set_xticks(scaling)
    axes[2, 2].axhline(1, color="black", linewidth=0.8)
    handles, labels = axes[2, 1].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=6)
    figure.suptitle(
        f"Python {report['python']}, {report['cpu']}, {report['cores']} cores, {report['workers']} workers;"
        f" medians of {report['repeat']}, least and most"
    )
    figure.savefig(file, format="png")


def _bars(axes: Axes, records: Records, colors: dict[str, str], key: str, title: str, label: str, *, log: bool) -> None:
    names = [name for name in records if key in records[name]["figures"]]
    figures = [records[name]["figures"][key] for name in names]
    values = [figure["median"] for figure in figures]
    spread = [[f["median"] - f["least"] for f in figures], [f["most"] - f["median"] for f in figures]]
    axes.barh(names, values, xerr=spread, color=[colors[name] for name in names], error_kw={"linewidth": 0.8})
    if log and values:
        axes.set_xscale("log")
        axes.set_xlim(min(values) / 2, max(values) * 20)
    elif values:
        axes.set_xlim(0, max(values) * 1.25)
    for k, (value, figure) in enumerate(zip(values, figures, strict=True)):
        axes.annotate(short(value), (figure["most"], k), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    axes.invert_yaxis()
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel(label)
    if not names:
        axes.set_axis_off()


def _lines(
    axes: Axes, records: Records, colors: dict[str, str], points: list[tuple[float, str]], title: str, x: str, y: str
) -> None:
    for name, record in records.items():
        known = [(at, record["figures"][key]) for at, key in points if key in record["figures"]]
        if not known:
            continue
        width, size, order = (2.5, 5, 3) if name == "owngil" else (1.2, 3, 2)
        axes.plot([at for at, _ in known], [figure["median"] for _, figure in known], "o-", color=colors[name],
                  label=name, linewidth=width, markersize=size, zorder=order)  # fmt: skip
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
