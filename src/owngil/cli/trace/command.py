"""``owngil trace``: draws a recording of `owngil.trace`."""

import argparse
import json
from pathlib import Path
from typing import Any

from owngil.cli.errors import InputError
from owngil.cli.files import check_writable, write_file
from owngil.cli.trace.timeline import Timeline, read_timeline

__all__ = ["add_parser"]

_PICTURES = ("png", "svg", "pdf")


def add_parser(commands: Any) -> None:
    """Add the command's options to ``owngil``'s parser."""
    parser = commands.add_parser(
        "trace",
        help="draw a recording that owngil.trace() wrote",
        description="Draw a recording that owngil.trace() wrote: who ran what when, with start-up, transfer and the"
        " tasks that wait. A picture, or a page to zoom in; https://ui.perfetto.dev opens recordings too.",
    )
    add = parser.add_argument
    add("recording", type=Path, metavar="RECORDING", help="the file that owngil.trace() wrote, .json")
    add("-o", "--output", type=Path, metavar="FILE",
        help="the drawing: .png, .svg, .pdf, or .html, a page to zoom in (default: RECORDING with .png)")  # fmt: skip
    add("--from", dest="first", type=float, metavar="SECONDS", help="draw from then on, in seconds of the recording")
    add("--to", dest="last", type=float, metavar="SECONDS", help="draw up to then")
    parser.set_defaults(run=_run, command="trace")


def _run(options: argparse.Namespace) -> int:
    output: Path = options.output or options.recording.with_suffix(".png")
    form = output.suffix.lower().removeprefix(".")
    if form not in (*_PICTURES, "html"):
        raise InputError(f"{output}: the drawing's name must end in .png, .svg, .pdf or .html")
    timeline = read_timeline(options.recording, options.first, options.last)
    check_writable(output)
    if form == "html":
        page = _page(timeline)
        write_file(output, lambda file: file.write(page.encode()))
    else:
        try:
            from owngil.cli.trace import drawing
        except ImportError as error:
            raise InputError(f"{error.name} is missing: pip install 'owngil[cli]'; .html needs nothing") from None
        write_file(output, lambda file: drawing.draw_timeline(timeline, form, file))
    tasks = sum(span.kind == "task" for row in timeline.rows for span in row.spans)
    rows = _count(len(timeline.rows), "row")
    print(f"{output}: {_count(tasks, 'task')} in {rows}, {timeline.end - timeline.start:.3f} s")
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _page(timeline: Timeline) -> str:
    """Return the page: the template with the recording in it."""
    names: dict[tuple[str, str], int] = {}
    rows = []
    for row in timeline.rows:
        spans = [
            [
                round((span.start - timeline.start) * 1e6, 3),
                round((span.end - span.start) * 1e6, 3),
                names.setdefault((span.name, span.kind), len(names)),
                int(span.failed),
                span.details,
            ]
            for span in sorted(row.spans, key=lambda span: (span.start, -span.end))
        ]
        rows.append({"label": row.label, "spans": spans})
    data = {
        "title": timeline.title,
        "length": (timeline.end - timeline.start) * 1e6,
        "names": list(names),
        "rows": rows,
        "queues": [
            {"label": name, "points": [[round((time - timeline.start) * 1e6, 3), count] for time, count in points]}
            for name, points in timeline.queues.items()
        ],
    }
    # "<" in a text could end the script.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return Path(__file__).with_name("page.html").read_text(encoding="utf-8").replace("/*DATA*/null", text)
