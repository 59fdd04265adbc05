import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from longcall.queue import RefusedError, StorageError, schema
from longcall.queue.errors import Code, invalid
from longcall.queue.grouping import GroupedWrites


class _Counting(sqlite3.Connection):
    commits = 0
    held = threading.Event()
    held.set()

    def commit(self) -> None:
        self.commits += 1
        self.held.wait(10)
        super().commit()


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[_Counting]:
    """Give a database that counts and can hold its commits."""
    path = tmp_path / "grouping.db"
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=_Counting)
    with closing(connection):
        connection.execute("CREATE TABLE number (value INTEGER PRIMARY KEY)")
        yield connection


@pytest.fixture
async def writes(connection: _Counting) -> AsyncIterator[GroupedWrites]:
    """Give the writes to that database."""
    writes = GroupedWrites(connection)
    yield writes
    await writes.close()


def _insert(connection: sqlite3.Connection, value: int) -> int:
    if value < 0:
        raise invalid("negative")
    connection.execute("INSERT INTO number VALUES (?)", (value,))
    return value


async def test_what_waits_goes_together(writes: GroupedWrites, connection: _Counting) -> None:
    """A hundred writes that come while one is under way are one transaction."""
    first = writes.submit(lambda c: _insert(c, 0))
    await asyncio.sleep(0)
    others = [writes.submit(partial(_insert, value=value)) for value in range(1, 101)]
    assert await asyncio.gather(first, *others) == list(range(101))
    assert connection.commits == 2


async def test_a_refusal_harms_nobody_else(writes: GroupedWrites, connection: _Counting) -> None:
    """A write that is refused fails alone; the others of its group are written."""
    futures = [writes.submit(partial(_insert, value=value)) for value in (1, -1, 2)]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(results[1], RefusedError)
    assert connection.execute("SELECT value FROM number").fetchall() == [(1,), (2,)]


async def test_a_database_error_fails_its_group_and_no_other(writes: GroupedWrites, connection: _Counting) -> None:
    """When the database fails, all of that group are told UNAVAILABLE and nothing of it is written; the next works."""
    futures = [writes.submit(partial(_insert, value=value)) for value in (1, 1)]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [result.code for result in results if isinstance(result, RefusedError)] == [Code.UNAVAILABLE] * 2
    assert await writes.submit(lambda c: _insert(c, 1)) == 1
    assert connection.execute("SELECT value FROM number").fetchall() == [(1,)]


async def test_the_result_is_passed_on_though_nobody_waits(writes: GroupedWrites) -> None:
    """What follows from a write happens also when its caller has gone away."""
    known: list[int] = []
    writes.submit(lambda c: _insert(c, 7), known.append).cancel()
    await writes.submit(lambda c: _insert(c, 8))
    assert known == [7]


async def test_close_finishes_what_waits(connection: _Counting) -> None:
    """Closing writes what was submitted."""
    writes = GroupedWrites(connection)
    future = writes.submit(lambda c: _insert(c, 1))
    await writes.close()
    assert future.result() == 1


async def test_the_loop_goes_on_during_a_commit(writes: GroupedWrites, connection: _Counting) -> None:
    """A commit that waits for the disk does not hold the event loop."""
    connection.held = threading.Event()
    future = writes.submit(lambda c: _insert(c, 1))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not future.done()
    connection.held.set()
    assert await future == 1


def test_one_file_one_queue(tmp_path: Path) -> None:
    """A second queue over the same file is refused in words: each would dispatch every task."""
    with closing(schema.connect(tmp_path / "queue.db")), pytest.raises(StorageError, match="another process has it open"):
        schema.connect(tmp_path / "queue.db")


def test_a_file_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    """A path where no file can be is named in the error."""
    with pytest.raises(StorageError, match=r"nowhere/queue\.db: No such file"):
        schema.connect(tmp_path / "nowhere" / "queue.db")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file that a newer release has written is left alone."""
    with closing(schema.connect(tmp_path / "queue.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="schema 99"):
        schema.connect(tmp_path / "queue.db")


def test_the_file_is_fully_durable(tmp_path: Path) -> None:
    """The file is in WAL mode and every commit waits for the disk."""
    with closing(schema.connect(tmp_path / "queue.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
