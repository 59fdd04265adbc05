"""What a bench reads in a runner's SQLite file, beside the runner."""

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from longcall.core.text import parse_time


def ask(file: Path, sql: str, *values: str) -> Sequence[tuple[str, ...]]:
    """Rows of a query."""
    with closing(sqlite3.connect(file, timeout=10)) as store:
        return store.execute(sql, values).fetchall()


def owners(file: Path) -> Counter[str]:
    """How many running calls each runner has."""
    return Counter(
        {name: int(count) for name, count in ask(file, "SELECT owner, count(*) FROM task WHERE state = 'RUNNING' GROUP BY owner")}
    )


def last_beat(file: Path, runner: str) -> datetime:
    """When a runner last gave a sign of life."""
    return parse_time(ask(file, "SELECT beat_time FROM runner WHERE name = ?", runner)[0][0])


def histories(file: Path) -> Counter[tuple[str, ...]]:
    """How the attempts of ended calls ended, and how many calls went so."""
    found = ask(file, "SELECT doc FROM task WHERE kind = 'call' AND finish_time IS NOT NULL")
    return Counter(tuple((each["error"] or {}).get("code") or each["outcome"] for each in json.loads(doc)["attempts"]) for (doc,) in found)


def ended(file: Path, state: str) -> int:
    """How many calls have this state."""
    return int(ask(file, "SELECT count(*) FROM task WHERE kind = 'call' AND state = ?", state)[0][0])
