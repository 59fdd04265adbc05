"""How long a page of the list, one filter or two, and one record take among many tasks, the stores one after the other in one run.

    .venv/bin/python bench/lists.py [--tasks 100000] [--times 200] [--store postgres sqlite] [--url postgresql://…] [--json FILE]

Without a URL a PostgreSQL of the development wheel is started, as it comes but for what a server with some memory is given, in a
temporary folder. The database must be empty, and is left full.
"""

import random  # noqa: TID251 — a bench draws what it asks for
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import asyncpg
import uvloop
from calling import quantile
from table import ROOT, Figure, Table, arguments, number

sys.path.insert(0, str(ROOT))  # the development server lies with the tests

from longcall.core.lifecycle import create
from longcall.core.task import Failure, HttpRequest, Kind, State, TaskSpec
from longcall.core.text import parse_time, time_text
from longcall.engine.ports import Query, Store
from longcall.stores.paging import Place, token_of
from longcall.stores.postgres import PostgresStore
from longcall.stores.postgres_schema import migrate
from longcall.stores.rows import Row, row_of
from longcall.stores.sqlite import SqliteStore
from tests.postgres import running

END = datetime(2026, 11, 24, 8, tzinfo=UTC)
DAYS = 30
NAMES = {"postgres": "PostgreSQL", "sqlite": "SQLite"}
WARM_UP, COUNTS = 10, 5
HOSTS, TEAMS, CUSTOMERS = 200, 20, 10_000
# Most tasks have succeeded; what is open is few.
STATES = (
    (State.SUCCEEDED, 9_690),
    (State.FAILED, 250),
    (State.CANCELLED, 40),
    (State.SCHEDULED, 10),
    (State.RUNNING, 6),
    (State.WAITING, 4),
)
REASONS = (("status", 90), ("timed_out", 9), ("refused", 1))
CONFIG = "shared_buffers = '1GB'\nmax_wal_size = '8GB'\nlisten_addresses = '127.0.0.1'\n"
Labels = list[tuple[str, str, str, str, str]]


def some(draw: random.Random, weights: tuple[tuple[object, int], ...]) -> object:
    """One of these, as often as its weight says."""
    return draw.choices([value for value, _ in weights], [weight for _, weight in weights])[0]


def rows(tasks: int) -> Iterator[tuple[Row, Labels]]:
    """The records, oldest first. Each is made of a real one by putting other words in its place, which is ten times as fast."""
    draw = random.Random(7)  # noqa: S311 — the same tasks each time
    made: dict[tuple[object, ...], Row] = {}
    for n in range(tasks):
        kind = Kind.CALLBACK if n % 10 == 0 else Kind.CALL
        state = some(draw, STATES)
        reason = some(draw, REASONS) if state is State.FAILED else None
        if (kind, state, reason) not in made:
            made[kind, state, reason] = pattern(kind, state, reason)  # type: ignore[arg-type] # drawn from the tables above
        host = f"h{int(HOSTS * draw.random() ** 3)}.example"
        team, customer = f"t{int(TEAMS * draw.random() ** 2)}", f"c{draw.randrange(CUSTOMERS)}"
        yield filled(made[kind, state, reason], n, END - timedelta(days=DAYS) * (1 - n / tasks), host, team, customer)


def pattern(kind: Kind, state: State, reason: str | None) -> Row:
    """A record of this kind with words to be replaced."""
    spec = TaskSpec(HttpRequest("https://HOST/train", body=b"x" * 200), labels={"team": "TEAM", "customer": "CUSTOMER"})
    task = create("TASKID", spec, queue="projects/p/locations/l/queues/q", trace="0af7651916cd43dd8448eb211c80319c", now=END)
    due = END if state in {State.SCHEDULED, State.WAITING} else None
    failure = Failure(reason, "as it was", may_have_run=True) if reason else None
    finish, owner = END if state.ended else None, "runner-1" if state is State.RUNNING else None
    return row_of(replace(task, kind=kind, state=state, failure=failure, next_attempt_time=due, finish_time=finish, owner=owner))


def filled(row: Row, n: int, moment: datetime, host: str, team: str, customer: str) -> tuple[Row, Labels]:
    """The n-th task."""
    now, task_id = time_text(moment), f"task-{n:08}"
    doc = row.doc.replace("TASKID", task_id).replace(time_text(END), now)
    doc = doc.replace("HOST", host).replace("TEAM", team).replace("CUSTOMER", customer)
    row = Row(
        task_id,
        1,
        row.kind,
        host,
        now,
        row.state,
        row.reason,
        row.owner,
        None,
        now,
        row.finish_time and now,
        row.next_attempt_time and now,
        doc,
    )
    return row, [(key, value, row.kind, now, task_id) for key, value in (("team", team), ("customer", customer))]


def batches(tasks: int, size: int) -> Iterator[list[tuple[Row, Labels]]]:
    """The records, so many at a time."""
    every = rows(tasks)
    while batch := list(islice(every, size)):
        yield batch


@asynccontextmanager
async def sqlite(tasks: int, folder: Path) -> AsyncIterator[Store]:
    """A file, filled."""
    path = folder / "longcall.db"
    async with SqliteStore.open(path, lambda: END):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for batch in batches(tasks, 10_000):
            connection.executemany("INSERT INTO task VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [row for row, _ in batch])
            connection.executemany("INSERT INTO task_label VALUES (?, ?, ?, ?, ?)", [label for _, labels in batch for label in labels])
        connection.commit()
    async with SqliteStore.open(path, lambda: END) as store:
        yield store


@asynccontextmanager
async def postgres(tasks: int, url: str) -> AsyncIterator[Store]:
    """A database, filled by COPY, looked over by the planner."""
    await migrate(url)
    connection = await asyncpg.connect(url)
    try:
        times = [n for n, name in enumerate(Row._fields) if name.endswith("_time")]
        for batch in batches(tasks, 50_000):
            records = [timed(row, times) for row, _ in batch]
            await connection.copy_records_to_table("longcall_task", records=records, columns=Row._fields)
            labels = [timed(label, [3]) for _, labels in batch for label in labels]
            await connection.copy_records_to_table("longcall_label", records=labels)
        await connection.execute("VACUUM ANALYZE longcall_task")
        await connection.execute("VACUUM ANALYZE longcall_label")
    finally:
        await connection.close()
    async with PostgresStore.open(url, migrate=False) as store:
        yield store


def timed(row: tuple[object, ...], times: list[int]) -> list[object]:
    """A row with its times as times."""
    values = list(row)
    for n in times:
        text = values[n]
        values[n] = parse_time(text) if isinstance(text, str) else None
    return values


def questions(tasks: int, draw: random.Random) -> dict[str, Callable[[], Query | str]]:
    """What is asked, anew each time; a text is the id of a record to get."""

    def deep() -> str:
        moment = END - timedelta(days=DAYS * draw.random())
        return token_of(Place(time_text(moment), "task-"))

    return {
        "get": lambda: f"task-{draw.randrange(tasks):08}",
        "newest": Query,
        "a later page": lambda: Query(token=deep()),
        "state SUCCEEDED": lambda: Query(states=frozenset({State.SUCCEEDED})),
        "state FAILED": lambda: Query(states=frozenset({State.FAILED})),
        "state RUNNING": lambda: Query(states=frozenset({State.RUNNING})),
        "state RUNNING or WAITING": lambda: Query(states=frozenset({State.RUNNING, State.WAITING})),
        "any end": lambda: Query(states=frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})),
        "label of many": lambda: Query(label=("team", f"t{draw.randrange(3)}")),
        "label of many, a later page": lambda: Query(label=("team", f"t{draw.randrange(3)}"), token=deep()),
        "label of few": lambda: Query(label=("customer", f"c{draw.randrange(CUSTOMERS)}")),
        "reason of many": lambda: Query(reason="status"),
        "reason of few": lambda: Query(reason="refused"),
        "host of many": lambda: Query(host="h0.example"),
        "host of few": lambda: Query(host=f"h{HOSTS - 1}.example"),
        "state FAILED and label of many": lambda: Query(states=frozenset({State.FAILED}), label=("team", f"t{draw.randrange(3)}")),
        "state FAILED and label of few": lambda: Query(
            states=frozenset({State.FAILED}), label=("customer", f"c{draw.randrange(CUSTOMERS)}")
        ),
        "state FAILED and host of few": lambda: Query(states=frozenset({State.FAILED}), host=f"h{HOSTS - 1}.example"),
        "updated in the last minute": lambda: Query(updated_after=END - timedelta(minutes=1)),
        "overdue": lambda: Query(overdue_at=END + timedelta(hours=1)),
    }


async def measure(store: Store, ask: Callable[[], Query | str], times: int) -> list[float]:
    """Milliseconds of each, in order."""
    took = []
    for n in range(times + WARM_UP):
        asked = ask()
        start = time.perf_counter()
        found = await (store.get(asked) if isinstance(asked, str) else store.page(asked))
        if n >= WARM_UP:
            took.append((time.perf_counter() - start) * 1000)
        assert found is not None  # noqa: S101 — a bench that measured nothing would lie
    return sorted(took)


async def counted(store: Store) -> list[float]:
    """The same for the counts."""
    took = []
    for _ in range(COUNTS):
        start = time.perf_counter()
        await store.counts(END)
        took.append((time.perf_counter() - start) * 1000)
    return sorted(took)


def cell(took: list[float]) -> Figure:
    """Median and 99th percentile."""
    return Figure(quantile(took, 0.5), "ms", remark=f"p99 {number(quantile(took, 0.99))} ms")


async def main(table: Table, tasks: int, times: int, urls: dict[str, str]) -> None:
    """Fill each store, ask each, show both side by side."""
    columns: list[dict[str, Figure]] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="longcall-bench-")))
        for name, url in urls.items():
            start = time.perf_counter()
            store = await stack.enter_async_context(sqlite(tasks, folder) if name == "sqlite" else postgres(tasks, url))
            print(f"{name}: {tasks:,} tasks in after {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
            draw = random.Random(11)  # noqa: S311 — the same questions each time
            found = {title: cell(await measure(store, ask, times)) for title, ask in questions(tasks, draw).items()}
            columns.append(found | {"counts": cell(await counted(store))})
    for title, ours in columns[0].items():
        table.row(title, ours, columns[1][title] if len(columns) > 1 else None)
    first, *others = (NAMES[name] for name in urls)
    beside = f"; in the column of the baseline {others[0]}" if others else ""
    table.note(
        f"{tasks:,} tasks on {first}{beside}. Pages of 50, {times} times each after {WARM_UP} to warm up; the counts {COUNTS} times."
    )


def run() -> None:
    """Read the command line, start a server where one is needed."""
    parser = arguments(__doc__)
    parser.add_argument("--store", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--url", default="")
    options = parser.parse_args()
    tasks, times = (2_000, 5) if options.smallest else (options.tasks, options.times)
    table = Table("Pages of the list", uses=("asyncpg", "uvloop"))
    with ExitStack() as stack:
        url = options.url
        if "postgres" in options.store and not url:
            url = stack.enter_context(contextmanager(running)(CONFIG)).url("longcall_template")
        uvloop.run(main(table, tasks, times, dict.fromkeys(options.store, url)))
    table.show(options)


if __name__ == "__main__":
    run()
