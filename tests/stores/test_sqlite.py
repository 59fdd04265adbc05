"""What SQLite promises beyond the contract: the file."""

import asyncio
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from longcall.core.errors import NewerSchemaError, UnavailableError, UnclearError
from longcall.core.lifecycle import create
from longcall.core.task import HttpRequest, State, Task, TaskSpec
from longcall.engine.ports import Query, Runner
from longcall.stores import sqlite_work as work
from longcall.stores.rows import row_of
from longcall.stores.sqlite import SqliteStore
from longcall.stores.sqlite_file import open_writer
from longcall.stores.sqlite_page import Select, page_select

START = datetime(2026, 11, 24, 8, tzinfo=UTC)


def now() -> datetime:
    """A clock that stands."""
    return START


def make(task_id: str = "a", **fields: object) -> Task:
    """A task; fields by name replace its own."""
    task = create(task_id, TaskSpec(HttpRequest("https://t.example/"), labels={"team": "ml"}), queue="q", trace="t", now=START)
    return replace(task, **fields)  # type: ignore[arg-type]  # fields by name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "longcall.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """An open store."""
    async with SqliteStore.open(path, now) as store:
        yield store


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file brought up to date."""
    with closing(open_writer(path)) as connection:
        yield connection


# The file


async def test_records_survive_a_reopen(path: Path) -> None:
    """Tasks, labels and runners are there when the file is opened again."""
    async with SqliteStore.open(path, now) as store:
        await store.insert(make())
        await store.beat(Runner("r", START, START))
    async with SqliteStore.open(path, lambda: START + timedelta(seconds=5)) as store:
        assert (await store.page(Query(label=("team", "ml")))).tasks == [make()]
        assert [(runner.name, runner.age) for runner in await store.runners()] == [("r", timedelta(seconds=5))]


async def test_leaving_finishes_what_was_written(path: Path) -> None:
    """A write that was asked for before the store is left is on the disk, waited for or not."""
    async with SqliteStore.open(path, now) as store:
        writes = [asyncio.ensure_future(store.insert(make(f"t{n}"))) for n in range(200)]
        await asyncio.sleep(0)
    assert all(await asyncio.gather(*writes))
    async with SqliteStore.open(path, now) as store:
        assert (await store.counts(START)).by_state == {State.SCHEDULED: 200}


async def test_a_store_that_was_left_answers_nothing(path: Path) -> None:
    """After leaving, every call says that the store is closed."""
    async with SqliteStore.open(path, now) as store:
        pass
    with pytest.raises(UnavailableError, match="closed"):
        await store.insert(make())
    with pytest.raises(UnavailableError, match="closed"):
        await store.get("a")


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from longcall.core.lifecycle import create
from longcall.core.task import HttpRequest, TaskSpec
from longcall.stores.sqlite import SqliteStore

START = datetime(2026, 11, 24, 8, tzinfo=UTC)

async def write(store, lane):
    n = 0
    while True:
        task = create(f"{lane}-{n}", TaskSpec(HttpRequest("https://t.example/")), queue="q", trace="t", now=START)
        assert await store.insert(task)
        print(task.id, flush=True)
        n += 1

async def main():
    async with SqliteStore.open(Path(sys.argv[1]), lambda: START) as store:
        await asyncio.gather(*(write(store, lane) for lane in range(16)))

asyncio.run(main())
"""


def acknowledged_until_killed(path: Path) -> list[str]:
    """Let a process write, kill it in the midst of it; the ids it was told True for."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        first = [writer.stdout.readline() for _ in range(300)]
        writer.send_signal(signal.SIGKILL)
        return [line.strip() for line in (*first, *writer.stdout) if line.endswith("\n")]


async def test_a_kill_loses_no_acknowledged_write(path: Path) -> None:
    """Whatever a process was told True for is there after `kill -9`, in a file that is whole."""
    acknowledged = acknowledged_until_killed(path)
    assert len(acknowledged) >= 300
    async with SqliteStore.open(path, now) as store:
        found = await asyncio.gather(*(store.get(task_id) for task_id in acknowledged))
    assert None not in found
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_every_commit_is_on_the_disk(store: SqliteStore, path: Path) -> None:
    """Write-ahead log, full synchronisation, also through the drive's own cache where it has one."""
    del store
    with closing(open_writer(path)) as connection:
        found = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "fullfsync", "checkpoint_fullfsync")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "fullfsync": 1, "checkpoint_fullfsync": 1}


async def test_only_its_owner_reads_the_file(store: SqliteStore, path: Path) -> None:
    """The file and its log, which hold credentials, are nobody else's to read."""
    await store.insert(make())
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("longcall.db", "longcall.db-wal", "longcall.db-shm"), 0o600)


@pytest.mark.parametrize("where", [".", "missing/longcall.db"])
async def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, where: str) -> None:
    """A folder, or a path through one that is not there, is said in one error."""
    with pytest.raises(UnavailableError, match=str(tmp_path)):
        async with SqliteStore.open(tmp_path / where, now):
            pass


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    """Something else in the file's place is left as it is."""
    path.write_text("a letter to my aunt" * 100)
    with pytest.raises(UnavailableError, match="not a database"):
        open_writer(path)
    assert path.read_text().startswith("a letter")


# The schema


def test_an_empty_file_is_brought_up_to_date_once(path: Path) -> None:
    """An empty file gets the schema; opening it again changes nothing of it."""
    path.touch()
    schemas = []
    for _ in range(2):
        with closing(open_writer(path)) as connection:
            schemas.append(
                (
                    connection.execute("PRAGMA user_version").fetchone(),
                    connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall(),
                )
            )
    assert schemas[0] == schemas[1]
    assert schemas[0][0] == (1,)


async def test_many_who_open_a_new_file_at_once_all_succeed(path: Path) -> None:
    """The schema is made by one of them; the others wait for it."""

    async def use(name: str) -> bool:
        async with SqliteStore.open(path, now) as store:
            return await store.insert(make(name))

    assert await asyncio.gather(*(use(f"t{n}") for n in range(8))) == [True] * 8


async def test_a_file_of_a_newer_release_is_refused(path: Path) -> None:
    """A file whose schema is ahead of this release is not touched, and the error says what and where."""
    async with SqliteStore.open(path, now):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(NewerSchemaError, match=rf"{path} has schema 7; this release knows those up to 1"):
        async with SqliteStore.open(path, now):
            pass


# Groups


def refuse(_connection: sqlite3.Connection) -> bool:
    """A write that can't be done."""
    raise ValueError("not this one")


def unbindable(connection: sqlite3.Connection) -> bool:
    """A write that SQLite itself refuses."""
    connection.execute("INSERT INTO task_label VALUES (1)")
    return True


def insert(task: Task) -> work.Work:
    """A write of this task."""
    return lambda connection: work.insert(connection, row_of(task), {})


def test_each_write_of_a_group_has_its_own_answer(connection: sqlite3.Connection) -> None:
    """A compare-and-set that fails answers False to its own caller; those beside it land."""
    task = make()
    second = row_of(replace(task, version=2))
    group: Sequence[work.Work] = (
        insert(task),
        insert(task),
        lambda connection: work.replace(connection, second, 9),
        lambda connection: work.replace(connection, second, 1),
        lambda connection: work.delete(connection, make("b"), 1),
        insert(make("b")),
    )
    assert work.commit(connection, group) == [True, False, False, True, False, True]
    assert work.get(connection, "a") == (second.doc, 2)
    assert not connection.in_transaction


@pytest.mark.parametrize(("bad", "error"), [(refuse, ValueError), (unbindable, UnavailableError)])
def test_a_write_that_fails_takes_no_other_with_it(connection: sqlite3.Connection, bad: work.Work, error: type[Exception]) -> None:
    """The error is its own caller's; the rest of the group lands."""
    before, failed, after = work.commit(connection, (insert(make("a")), bad, insert(make("b"))))
    assert (before, type(failed), after) == (True, error, True)
    assert work.get(connection, "a") is not None
    assert work.get(connection, "b") is not None


class Failing(sqlite3.Connection):
    """A connection on which one statement fails."""

    statement = ""

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:
        """Fail, or do it."""
        if sql == self.statement:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)  # type: ignore[arg-type]  # whatever it takes


@pytest.mark.parametrize(("statement", "error"), [("BEGIN IMMEDIATE", UnavailableError), ("COMMIT", UnclearError)])
def test_a_group_that_cannot_begin_is_out_of_reach_and_one_that_cannot_commit_is_unclear(
    connection: sqlite3.Connection, path: Path, statement: str, error: type[Exception]
) -> None:
    """Every write of the group has the error, an own one each; afterwards the connection works."""
    del connection
    with closing(sqlite3.connect(path, isolation_level=None, factory=Failing)) as failing:
        failing.statement = statement
        answers = work.commit(failing, (insert(make("a")), insert(make("b"))))
        assert [type(answer) for answer in answers] == [error, error]
        assert answers[0] is not answers[1]
        failing.statement = ""
        assert work.commit(failing, (insert(make("a")),)) == [True]


async def test_a_file_that_breaks_is_out_of_reach(store: SqliteStore, path: Path) -> None:
    """A read that SQLite can't do raises UnavailableError, a write too."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE task")
    with pytest.raises(UnavailableError, match="no such table"):
        await store.get("a")
    with pytest.raises(UnavailableError, match="no such table"):
        await store.insert(make())
    with pytest.raises(UnavailableError):
        await store.ping()


async def test_a_long_list_holds_up_no_read(store: SqliteStore) -> None:
    """A record is read while a list is still at work."""
    await store.insert(make())
    listed = store._lists.submit(lambda connection: connection.execute(SLOW).fetchone())  # noqa: SLF001 — a list as slow as one wants
    assert await store.get("a") is not None
    assert not listed.done()
    await listed


SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT max(i) FROM n"

# How it is looked up


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(host="t.example"),
        Query(reason="status"),
        Query(label=("team", "ml")),
        Query(states=frozenset({State.RUNNING})),
        Query(states=frozenset(State)),
    ],
)
@pytest.mark.parametrize("few", [False, True])
def test_a_list_is_walked_in_its_index(connection: sqlite3.Connection, query: Query, few: bool) -> None:  # noqa: FBT001 — pytest names it
    """No step of the plan reads a whole table, and places come sorted: only the page itself is put in order."""
    plan = explain(connection, *page_select(query, None, lambda count: bool(explain(connection, *count)) and few))
    assert [step for step in plan if step.startswith("SCAN") and "subquery" not in step] == []
    assert [step for step in plan if "TEMP B-TREE" in step] == plan[-1:]


def test_what_few_have_is_counted_in_its_index(connection: sqlite3.Connection) -> None:
    """Whether few have a label or a host is seen in an index, and not in more of it than that."""
    query = Query(states=frozenset({State.FAILED}), label=("team", "ml"), host="t.example")
    counts: list[Select] = []

    def note(count: Select) -> bool:
        counts.append(count)
        return False

    page_select(query, None, note)
    plans = [explain(connection, *count) for count in counts]
    assert [any("COVERING INDEX" in step or "PRIMARY KEY" in step for step in plan) for plan in plans] == [True, True]
    assert all("LIMIT" in count.sql for count in counts)


CLAIMS: dict[str, Callable[[sqlite3.Connection], object]] = {
    "owned": lambda connection: work.owned(connection, "r"),
    "owned by anyone": lambda connection: work.owned(connection, ""),
    "cancelled": lambda connection: work.cancelled(connection, "r"),
    "purge": lambda connection: work.purge(connection, START, 9),
}


@pytest.mark.parametrize("ask", CLAIMS.values(), ids=CLAIMS)
def test_claims_and_purge_read_nothing_but_their_own(connection: sqlite3.Connection, ask: Callable[[sqlite3.Connection], object]) -> None:
    """With a thousand ended tasks beside it, each does next to nothing."""
    work.commit(connection, [insert(make(f"t{n}", state=State.SUCCEEDED, finish_time=START)) for n in range(1000)])
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 100

    connection.set_progress_handler(count, 100)
    ask(connection)
    connection.set_progress_handler(None, 0)
    assert steps < 500


def explain(connection: sqlite3.Connection, sql: str, params: Sequence[object]) -> list[str]:
    """The steps of the plan."""
    return [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {sql}", tuple(params))]


async def test_racing_writes_of_one_id_are_done_in_order(store: SqliteStore) -> None:
    """Writes given one after the other without waiting each see what the one before did."""
    first, again = make(), make(create_time=START + timedelta(seconds=1))
    following = replace(first, version=2)
    answers = await asyncio.gather(
        store.insert(first),
        store.replace(following, 1),
        store.replace(following, 1),
        store.delete(first, 1),
        store.delete(first, 2),
        store.delete(first, 2),
        store.insert(again),
        store.insert(first),
    )
    assert answers == [True, 2, None, False, True, False, True, False]
    stored = await store.get("a")
    assert stored is not None
    assert stored.task == again
