"""Records in a SQLite file: every write on the disk before it is answered, and whatever waits shares one transaction."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime
from functools import partial
from pathlib import Path

from longcall.core.task import Task
from longcall.engine.ports import Counts, Page, Query, Runner, Stored
from longcall.stores import sqlite_work as work
from longcall.stores.lane import Lane
from longcall.stores.paging import Place, place_of, token_of
from longcall.stores.rows import labels_of, row_of, task_of
from longcall.stores.sqlite_file import open_reader, open_writer
from longcall.stores.sqlite_page import FEW, Select, page_select
from longcall.stores.waiters import Waiters


class SqliteStore:
    """A `Store` in one file. A write that fails before its commit raises UnavailableError, one that fails in it UnclearError.

    `changed` is woken at once by this process's own writes, and within a second by those of other processes on this machine.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        writes: Lane[sqlite3.Connection],
        reads: Lane[sqlite3.Connection],
        lists: Lane[sqlite3.Connection],
    ) -> None:
        self._now = now
        self._writes = writes
        self._reads = reads
        self._lists = lists
        self._waiters = Waiters(self._versions)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, now: Callable[[], datetime]) -> "AsyncGenerator[SqliteStore]":
        """Open the file, made and brought up to date where needed; leaving finishes the writes in line.

        Raises NewerSchemaError, UnavailableError.
        """
        with (
            closing(await asyncio.to_thread(open_writer, path)) as writer,
            closing(open_reader(path)) as reader,
            closing(open_reader(path)) as lister,
        ):
            # A long list holds up other lists, never the reading of one record.
            lanes = (
                Lane("longcall-sqlite-writes", partial(work.commit, writer)),
                Lane("longcall-sqlite-reads", partial(work.read, reader)),
                Lane("longcall-sqlite-lists", partial(work.read, lister)),
            )
            try:
                yield cls(now, *lanes)
            finally:
                for lane in lanes:
                    await lane.close()

    async def insert(self, task: Task) -> bool:
        """Write a new record. False when the id is taken."""
        row, labels = row_of(task), labels_of(task)
        return await self._write(task.id, lambda connection: work.insert(connection, row, labels))

    async def get(self, task_id: str) -> Stored | None:
        """Read one record. Raises NewerSchemaError."""
        found = await self._reads.submit(lambda connection: work.get(connection, task_id))
        return Stored(task_of(found[0]), found[1]) if found else None

    async def replace(self, task: Task, tag: object) -> object:
        """Write the record's next version if it still is as it was read under this tag: its new tag, or None when it is not."""
        row = row_of(task)
        return row.version if await self._write(task.id, lambda connection: work.replace(connection, row, tag)) else None

    async def delete(self, task: Task, tag: object) -> bool:
        """Forget the record if it still is as it was read under this tag. False when it is not."""
        return await self._write(task.id, lambda connection: work.delete(connection, task, tag))

    async def page(self, query: Query) -> Page:
        """List records, newest first. Raises InvalidArgumentError for a bad token, NewerSchemaError."""
        place = place_of(query.token)
        found = await self._lists.submit(lambda connection: _fetch(connection, query, place))
        rows = found[: query.limit]
        return Page([task_of(doc) for _, _, doc in rows], token_of(Place(*rows[-1][:2])) if len(found) > query.limit else "")

    async def counts(self, now: datetime) -> Counts:
        """Count records of kind `call`."""
        return await self._lists.submit(lambda connection: work.counts(connection, now))

    async def owned(self, owner: str) -> Sequence[str]:
        """List the ids of the RUNNING tasks of a runner; of every runner for an empty name."""
        return await self._reads.submit(lambda connection: work.owned(connection, owner))

    async def cancelled(self, owner: str) -> Sequence[str]:
        """List the ids of the RUNNING tasks of a runner whose cancel was asked for."""
        return await self._reads.submit(lambda connection: work.cancelled(connection, owner))

    async def beat(self, runner: Runner) -> None:
        """Write a runner's sign of life at this machine's time."""
        now = self._now()
        await self._writes.submit(lambda connection: work.beat(connection, runner, now))

    async def runner(self, name: str) -> Runner | None:
        """Read a runner's sign of life."""
        now = self._now()
        found = await self._reads.submit(lambda connection: work.runners(connection, now, name))
        return found[0] if found else None

    async def runners(self) -> Sequence[Runner]:
        """List all runners known, by name."""
        now = self._now()
        return await self._reads.submit(lambda connection: work.runners(connection, now))

    async def purge(self, before: datetime, limit: int) -> Sequence[Task]:
        """Forget and return tasks that ended before then, longest ended first; forget runners silent since. Raises NewerSchemaError."""
        gone = await self._writes.submit(lambda connection: work.purge(connection, before, limit))
        for task in gone:
            self._waiters.wake(task.id)
        return gone

    async def changed(self, task_id: str, after: int, patience: float) -> Stored | None:
        """Wait up to `patience` seconds for a version above `after` and return what is there then. Raises NewerSchemaError."""
        return await self._waiters.changed(self.get, task_id, after, patience)

    async def ping(self) -> None:
        """Read one row. Raises UnavailableError when the file is out of reach."""
        await self._reads.submit(lambda connection: work.get(connection, ""))

    async def _versions(self, task_ids: Sequence[str]) -> Mapping[str, int]:
        return await self._reads.submit(lambda connection: work.versions(connection, task_ids))

    def _write(self, task_id: str, write: Callable[[sqlite3.Connection], bool]) -> "asyncio.Future[bool]":
        return self._writes.submit(write, partial(self._waiters.wake, task_id))


def _fetch(connection: sqlite3.Connection, query: Query, place: Place | None) -> list[tuple[str, str, str]]:
    def are_few(count: Select) -> bool:
        return bool(connection.execute(count.sql, count.params).fetchone()[0] < FEW)

    select = page_select(query, place, are_few)
    return connection.execute(select.sql, select.params).fetchall()
