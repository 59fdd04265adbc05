"""The page of the docs: the table of each bench from the JSON that it wrote, with what the tables have in common.

    .venv/bin/python bench/page.py

It reads bench/results/*.json, as `make bench` leaves them, and writes the tables into docs/benchmarks.md between the two comments; what
stands around them is written by hand. docs/make.py does the same, and a test holds the page to the files.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from table import ROOT, Row, grid, markdown

RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
ORDER = (
    "relay",
    "laptop",
    "held_calls",
    "recovery",
    "storm",
    "scale",
    "embedded_queue",
    "lists",
    "dashboard",
    "telemetry",
    "startup",
)
PICTURES = {"storm": "![Arrivals a second after 10,000 calls failed at once, for each kind of jitter](images/storm.svg)"}
SMALLEST = "**A run at the smallest size, which shows that the bench works: no figures to go by.**"
TABLES = re.compile(r"(<!-- made from benchmarks -->\n).*?(<!-- end -->)", re.DOTALL)


def tables(folder: Path = RESULTS) -> str:
    """All of them, as Markdown. Raises ValueError for a file that no bench writes."""
    files = {file.stem: file for file in folder.glob("*.json")}
    if unknown := files.keys() - set(ORDER):
        raise ValueError(f"{folder} has results of {', '.join(sorted(unknown))}, which is no bench")
    found = {name: json.loads(files[name].read_text(encoding="utf-8")) for name in ORDER if name in files}
    return "\n\n".join([summary(list(found.values())), *(chapter(name, data) for name, data in found.items())])


def summary(found: Sequence[Mapping[str, Any]]) -> str:
    """How many targets are met, and each that is not; of runs whose figures count."""
    counting = [data for data in found if not _smallest(data)]
    aimed = [(data["title"], Row.of(row)) for data in counting for row in data["rows"] if row["met"] is not None]
    missed = [(f"{title}: {row.what}", str(row.ours), str(row.target)) for title, row in aimed if not row.met]
    text = f"{len(aimed) - len(missed)} of {len(aimed)} targets are met."
    if left_out := len(found) - len(counting):
        text += f" Left out: {left_out} of {len(found)} tables, which are of runs at the smallest size."
    return f"{text} Missed are:\n\n{grid(('what', 'ours', 'target'), missed)}" if missed else text


def chapter(name: str, data: Mapping[str, Any]) -> str:
    """One table, with what stands around it."""
    parts = (f"## {data['title']}", SMALLEST if _smallest(data) else "", PICTURES.get(name, ""), markdown(data))
    return "\n\n".join(part for part in parts if part)


def _smallest(data: Mapping[str, Any]) -> bool:
    return "--smallest" in data["command"].split()


def main() -> None:
    """Write the page."""
    PAGE.write_text(TABLES.sub(lambda found: f"{found[1]}\n{tables()}\n\n{found[2]}", PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
