"""Write the README's table of measurements from a result of ``owngil bench --json``, by default the newest Python's."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from owngil.cli._bench.report import short

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- measured: benchmarks/readme.py -->\n", "<!-- end of measured -->\n"
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


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.stem.removeprefix("bench-").split("."))


def newest() -> Path:
    """Return the result of the newest Python."""
    return max((ROOT / "benchmarks" / "results").glob("bench-*.json"), key=_version)


def _cell(record: dict[str, Any], key: str) -> str:
    figure = record["figures"].get(key)
    return "" if figure is None else short(figure["median"])


def table(path: Path) -> str:
    """Return the Markdown between BEGIN and END."""
    report = json.loads(path.read_text())
    lines = [
        f"Python {report['python']}, {report['cpu']}, {report['cores']} virtual cores, {report['workers']} workers; "
        f"medians of {report['repeat']} runs in turns. Made by `make bench`, which runs `{report['command']}`; "
        f"[all figures]({path.relative_to(ROOT)}), [what they mean](docs/bench.md).",
        "",
        "| executor | " + " | ".join(title for title, _ in COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for name, record in report["executors"].items():
        if record.get("figures"):
            bold = "**" if name == "owngil" else ""
            cells = [f"{bold}{text}{bold}" if text else "" for _, key in COLUMNS for text in [_cell(record, key)]]
            lines.append(f"| {bold}{name}{bold} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    path = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else newest()
    readme = ROOT / "README.md"
    text = readme.read_text()
    pattern = re.compile(f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"README.md has no place for the table: {BEGIN}{END}")
    readme.write_text(pattern.sub(lambda _: table(path), text))
    print(f"README.md: the table is from {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
