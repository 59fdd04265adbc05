"""The page of the benches is made from what they wrote."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ORDER = re.findall(r"^    \"(\w+)\",$", (ROOT / "bench" / "page.py").read_text(), re.MULTILINE)


def written(title: str, *rows: dict[str, Any], command: str = "bench/some.py") -> str:
    """What a bench with this title and these rows leaves."""
    machine = {"cpu": "a processor", "cores": 2, "memory": "8 GiB", "system": "Linux 6", "load": 0.25}
    head = {"title": title, "command": command, "commit": "abc1234", "date": "2026-11-24", "machine": machine}
    return json.dumps({**head, "versions": {"Python": "3.11.7"}, "rows": rows, "notes": ["A note."]})


def row(what: str, value: float, at_most: float) -> dict[str, Any]:
    """One with a target."""
    ours = {"value": value, "unit": "ms", "low": 1.0, "high": 2000.0, "runs": 3, "remark": ""}
    return {
        "what": what,
        "ours": ours,
        "baseline": {"text": "lost"},
        "target": {"kind": "at most", "value": at_most, "unit": "ms"},
        "met": value <= at_most,
    }


def tables(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the page would have of this folder."""
    script = "import sys; sys.path.insert(0, 'bench'); from pathlib import Path; from page import tables; print(tables(Path(sys.argv[1])))"
    return subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_tables_stand_in_their_order(tmp_path: Path) -> None:
    """The targets that are missed come first, then each bench with its notes and circumstances; what was not run is left out."""
    (tmp_path / "startup.json").write_text(written("Second", row("slow", 1500, 4)))
    (tmp_path / "storm.json").write_text(written("First", row("fast", 3.5, 4)))
    made = tables(tmp_path)
    assert made.returncode == 0, made.stderr
    assert (
        made.stdout
        == """\
1 of 2 targets are met. Missed are:

| what | ours | target |
| --- | ---: | --- |
| Second: slow | 1,500 ms (1 to 2,000, 3 runs) | at most 4 ms |

## First

![Arrivals a second after 10,000 calls failed at once, for each kind of jitter](images/storm.svg)

| what | ours | baseline | target | met? |
| --- | ---: | ---: | ---: | --- |
| fast | 3.5 ms (1 to 2,000, 3 runs) | lost | at most 4 ms | yes |

A note.

`bench/some.py` on 2026-11-24, commit abc1234; a processor, 2 cores, 8 GiB, Linux 6, load 0.2 at the start; Python 3.11.7.

## Second

| what | ours | baseline | target | met? |
| --- | ---: | ---: | ---: | --- |
| slow | 1,500 ms (1 to 2,000, 3 runs) | lost | at most 4 ms | **no** |

A note.

`bench/some.py` on 2026-11-24, commit abc1234; a processor, 2 cores, 8 GiB, Linux 6, load 0.2 at the start; Python 3.11.7.
"""
    )


def test_a_run_at_the_smallest_size_counts_for_nothing(tmp_path: Path) -> None:
    """It meets no target and misses none, and its table says what it is."""
    (tmp_path / "startup.json").write_text(written("Full", row("fast", 3, 4)))
    (tmp_path / "laptop.json").write_text(written("Smallest", row("slow", 5, 4), command="bench/laptop.py --smallest"))
    made = tables(tmp_path).stdout
    assert made.startswith("1 of 1 targets are met. Left out: 1 of 2 tables, which are of runs at the smallest size.\n\n")
    smallest, full = (text.split("\n\n")[1] for text in made.split("## ")[1:])
    assert smallest == "**A run at the smallest size, which shows that the bench works: no figures to go by.**"
    assert full.startswith("| what |")


def test_results_of_no_bench_are_refused(tmp_path: Path) -> None:
    """A file that would be left out is named."""
    (tmp_path / "relays.json").write_text(written("Misspelt"))
    assert "results of relays, which is no bench" in tables(tmp_path).stderr


@pytest.mark.parametrize("name", ORDER)
def test_each_bench_has_its_results(name: str) -> None:
    """What is committed is of this very script."""
    found = json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text())
    assert found["command"].split()[0] == f"bench/{name}.py"
    assert f"\n## {found['title']}\n" in (ROOT / "docs" / "benchmarks.md").read_text()


def test_make_bench_runs_all_there_are() -> None:
    """Page and Makefile name every script that has a table of its own."""
    scripts = {file.stem for file in (ROOT / "bench").glob("*.py") if "arguments(__doc__)" in file.read_text()}
    (only,) = re.findall(r"^ONLY := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(ORDER) == scripts - {"table"}
    assert only.split() == ORDER
