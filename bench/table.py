"""What a bench found: a Markdown table for people, and the same as JSON.

    options = arguments(__doc__).parse_args()                 # --smallest and --json FILE, and what the bench adds
    table = Table("Relays a second", uses=("aiohttp", "uvloop"))
    table.row("through the runner", median_of(rates, "/s"), baseline=median_of(nginx, "/s"), target=at_least(3000, "/s"))
    table.show(options)

A row is shown as soon as it is known, the whole table at the end. No bench fails by a figure: what missed its target says so. page.py makes
the page of the docs of the JSON files.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COLUMNS = ("what", "ours", "baseline", "target", "met?")
ALWAYS = ("longcall",)
WRITTEN = (":!bench/results", ":!docs/benchmarks.md", ":!docs/images")  # by benches


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value; `low` and `high` are the extremes of `runs` readings, of which `value` is the median. `remark` stands behind it."""

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    runs: int = 1
    remark: str = ""

    def __str__(self) -> str:
        text = _with_unit(number(self.value), self.unit)
        if self.low is not None and self.high is not None:
            text += f" ({number(self.low)} to {number(self.high)}, {self.runs} runs)"
        return f"{text}, {self.remark}" if self.remark else text


@dataclass(frozen=True, slots=True)
class Bound:
    """What DESIGN section 14 asks for: `at most` or `at least` so much."""

    kind: str
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.kind} {_with_unit(number(self.value), self.unit)}"

    def met_by(self, found: Figure) -> bool:
        """Whether a figure of the same unit is within. Raises ValueError for another unit."""
        if found.unit != self.unit:
            raise ValueError(f"{found.unit} was measured, and the target is in {self.unit}")
        return found.value <= self.value if self.kind == "at most" else found.value >= self.value


Cell = Figure | str | None


def at_most(value: float, unit: str) -> Bound:
    """A target that is an upper bound."""
    return Bound("at most", value, unit)


def at_least(value: float, unit: str) -> Bound:
    """A target that is a lower bound."""
    return Bound("at least", value, unit)


def median_of(readings: Sequence[float], unit: str, remark: str = "") -> Figure:
    """The median of some readings, with the lowest and the highest. Raises StatisticsError for none."""
    value = statistics.median(readings)
    if len(readings) == 1:
        return Figure(value, unit, remark=remark)
    return Figure(value, unit, min(readings), max(readings), len(readings), remark)


def number(value: float) -> str:
    """A number as people read it: three significant digits below 100, whole above, with commas."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.2g}"


def _with_unit(text: str, unit: str) -> str:
    glued = not unit or unit.startswith("/")
    return f"{text}{unit}" if glued else f"{text} {unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line: `met` is None where there is no target, or nothing was measured."""

    what: str
    ours: Cell
    baseline: Cell
    target: Bound | None
    met: bool | None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Row":
        """As JSON has it."""
        target = data["target"] and Bound(**data["target"])
        return cls(data["what"], _cell(data["ours"]), _cell(data["baseline"]), target, data["met"])

    def cells(self) -> tuple[str, ...]:
        """As text."""
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        return (self.what, *("" if cell is None else str(cell) for cell in (self.ours, self.baseline, self.target)), met)

    def data(self) -> dict[str, Any]:
        """As JSON."""
        parts = {"ours": self.ours, "baseline": self.baseline, "target": self.target}
        found = {name: asdict(part) if isinstance(part, Figure | Bound) else part and {"text": part} for name, part in parts.items()}
        return {"what": self.what, **found, "met": self.met}


@dataclass
class Table:
    """The rows of one bench. `uses` names the packages whose versions matter to it."""

    title: str
    uses: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list[Row])
    notes: list[str] = field(default_factory=list[str])
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def row(self, what: str, ours: Cell, baseline: Cell = None, target: Bound | None = None) -> None:
        """Add a line, and show it at once on standard error: a bench may go on for minutes. A text meets no target."""
        met = target.met_by(ours) if target is not None and isinstance(ours, Figure) else None
        self.rows.append(Row(what, ours, baseline, target, met))
        print(" | ".join(cell for cell in self.rows[-1].cells() if cell), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Add a sentence that stands below the table."""
        self.notes.append(text)

    def show(self, options: argparse.Namespace) -> None:
        """Write the JSON where `--json` says, and print the table. Raises OSError."""
        data = self.data()
        if options.json is not None:
            options.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        print(f"### {self.title}\n\n{markdown(data)}")

    def versions(self) -> dict[str, str]:
        """Python's version and those of the packages that matter."""
        return {"Python": platform.python_version(), **dict(_versions((*ALWAYS, *self.uses)))}

    def data(self) -> dict[str, Any]:
        """Everything, as JSON. Values are in the unit beside them, the load is the average of the minute before the start."""
        now = datetime.now(UTC)  # noqa: TID251 — figures are of a day
        return {
            "title": self.title,
            "command": command(),
            "commit": commit(),
            "date": f"{now:%Y-%m-%d}",
            "machine": {**machine(), "load": self.load},
            "versions": self.versions(),
            "rows": [row.data() for row in self.rows],
            "notes": self.notes,
        }


def markdown(data: Mapping[str, Any]) -> str:
    """What a table is as JSON, for people: the rows, the notes, and the circumstances."""
    rows = [Row.of(row).cells() for row in data["rows"]]
    return "\n\n".join([grid(COLUMNS, rows), *data["notes"], circumstances(data)])


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of cells; all but the first and the last column are figures."""
    rule = ("---", *["---:"] * (len(head) - 2), "---")
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in (head, rule, *rows))


def circumstances(data: Mapping[str, Any]) -> str:
    """What was run, when, on which commit and where, in a sentence."""
    on = data["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    where = f"{on['cpu']}, {on['cores']} cores, {on['memory']}, {on['system']}, load {on['load']:.1f} at the start"
    return f"`{data['command']}` on {data['date']}, commit {data['commit']}; {where}; {versions}."


def _cell(data: Mapping[str, Any] | None) -> Cell:
    if not data:
        return None
    return str(data["text"]) if "text" in data else Figure(**data)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with what every bench knows: `--smallest` and `--json FILE`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smallest", action="store_true", help="a run of seconds that shows that the bench works; no figure to go by")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too, as JSON")
    return parser


def command() -> str:
    """What was typed, without where its output went, and of paths their last part: the others are of one machine."""
    words = iter(sys.argv[1:])
    kept = [word for word in words if not word.startswith("--json=") and (word != "--json" or next(words, None) is None)]
    return " ".join(["bench/" + Path(sys.argv[0]).name, *(Path(word).name if word.startswith("/") else word for word in kept)])


def commit() -> str:
    """The commit that was measured; it says so when files differ from it, other than what benches write."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return f"{head} with changes" if _git("status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN) else head
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607 — whichever git there is


def machine() -> dict[str, str | int]:
    """What it ran on. `cores` are those this process may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    system = f"{platform.system()} {platform.release()}"
    return {"cpu": _cpu(), "cores": cores, "memory": f"{memory:.0f} GiB", "system": system}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _versions(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "not installed"
