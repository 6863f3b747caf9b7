"""Write the measurements of the newest Python in benchmarks/results into README.md and docs/bench.md."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from executors.report import short

ROOT = Path(__file__).parent.parent
COLUMNS = [
    ("NumPy-ready ms", "numpy ready"),
    ("MiB a worker", "memory"),
    ("latency p50 µs", "latency p50"),
    ("submits/s", "submit"),
    ("map items/s", "map best"),
    ("100 MB in ms", "in 100 MB"),
    ("100 MB out ms", "out 100 MB"),
    ("channel p50 µs", "channel p50"),
    ("picture", "picture"),
]


def newest(kind: str) -> Path:
    """Return the result of the newest Python, such as bench-3.14.8.json."""

    def version(path: Path) -> tuple[int, ...]:
        return tuple(int(part) for part in path.stem.removeprefix(f"{kind}-").split("."))

    return max((ROOT / "benchmarks" / "results").glob(f"{kind}-*.json"), key=version)


def link(path: Path, folder: Path) -> str:
    """Return the Markdown link to a result, for a page in `folder`."""
    return f"[all figures]({path.relative_to(folder, walk_up=True).as_posix()})"


def executors(path: Path, folder: Path) -> str:
    """Return the table of all executors."""
    report: dict[str, Any] = json.loads(path.read_text())
    lines = [
        f"Python {report['python']}, {report['cpu']}, {report['cores']} virtual cores, {report['workers']} workers; "
        f"medians of {report['repeat']} runs in turns; made by `make bench`; {link(path, folder)}, "
        "[what they mean](docs/bench.md):",
        "",
        "| executor | " + " | ".join(title for title, _ in COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for name, record in report["executors"].items():
        if not record.get("figures"):
            continue
        bold = "**" if name == "owngil" else ""
        cells = [bold + name + bold]
        for _, key in COLUMNS:
            figure = record["figures"].get(key)
            cells.append("" if figure is None else f"{bold}{short(figure['median'])}{bold}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def picture(path: Path, folder: Path) -> str:
    """Return the table of the picture."""
    report = json.loads(path.read_text())
    lines = [
        f"Python {report['python']}, {report['workers']} workers; {link(path, folder)}:",
        "",
        "| backend | start-up s | seconds | speed-up |",
        "|---|---|---|---|",
    ]
    for name, row in report["kernels"]["python"].items():
        lines.append(f"| {name} | {row['start_up']:.3f} | {row['seconds']:.2f} | {row['speed_up']:.2f} |")
    return "\n".join([*lines, ""])


def steps(path: Path, folder: Path) -> str:
    """Return the table of a task's steps."""
    report = json.loads(path.read_text())
    lines = [
        f"Python {report['python']}, `python benchmarks/steps.py`; {link(path, folder)}:",
        "",
        "| step | µs |",
        "|---|---|",
        *(f"| {name} | {value:.2f} |" for name, value in report["steps, microseconds"].items()),
        f"| **in all, p50** | **{report['latency p50, microseconds']:.2f}** |",
    ]
    return "\n".join([*lines, ""])


# Each table stands between two comments with its name.
PLACES = {
    "executors": (ROOT / "README.md", executors, "bench"),
    "picture": (ROOT / "README.md", picture, "picture"),
    "steps": (ROOT / "docs" / "bench.md", steps, "steps"),
}


def written(name: str) -> tuple[str, str]:
    """Return the page's present text, and its text with the table of that name from the newest result."""
    page, table, kind = PLACES[name]
    text = page.read_text()
    begin, end = f"<!-- {name}: benchmarks/readme.py -->\n", f"<!-- end of {name} -->\n"
    pattern = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"{page} has no place for the table: {begin}{end}")
    return text, pattern.sub(lambda _: table(newest(kind), page.parent), text)


def main() -> None:
    for name, (page, _, _) in PLACES.items():
        page.write_text(written(name)[1])
        print(f"{page.relative_to(ROOT)}: {name}")


if __name__ == "__main__":
    main()
