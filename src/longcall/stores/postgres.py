"""Records in PostgreSQL: whatever waits to be written shares one statement, and several processes share the database."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from typing import TypeAlias

from longcall.core.task import State, Task
from longcall.core.text import time_text
from longcall.engine.ports import Counts, Page, Query, Runner, Stored
from longcall.stores import postgres_work as work
from longcall.stores.paging import Place, place_of, token_of
from longcall.stores.postgres_groups import Groups, Run
from longcall.stores.postgres_listener import listening
from longcall.stores.postgres_page import page_select
from longcall.stores.postgres_schema import prepare
from longcall.stores.postgres_server import SETTINGS, Connections
from longcall.stores.postgres_text import mark, original, plain
from longcall.stores.rows import NOT_ENDED, OVERDUE, task_of
from longcall.stores.waiters import Waiters

Write: TypeAlias = work.Insert | work.Replace | work.Delete
WRITES_AT_ONCE = 4
READS_AT_ONCE = 2
CONNECTIONS = WRITES_AT_ONCE + READS_AT_ONCE + 2
LISTS_AT_ONCE = 2
# A plan for the very values asked for, what is rare and what is not differing by far; and rather an index walked in its order than all
# that fits gathered and sorted.
LIST_SETTINGS = SETTINGS | {"plan_cache_mode": "force_custom_plan", "enable_bitmapscan": "off"}
# Seconds after which whoever waits reads again, so that a lost notification costs no more.
AGAIN = 5.0


class PostgresStore:
    """A `Store` in a PostgreSQL database. What is refused or never sent raises UnavailableError, a write left in doubt UnclearError.

    Everything is answered within 5 s. `changed` is woken by this process's own writes and by those of the others.
    """

    def __init__(self, connections: Connections, lists: Connections, waiters: Waiters) -> None:
        self._connections = connections
        self._lists = lists
        self._waiters = waiters
        self._writes = Groups(connections, WRITES_AT_ONCE)
        self._reads = Groups(connections, READS_AT_ONCE)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, migrate: bool) -> "AsyncGenerator[PostgresStore]":
        """Open the database, brought up to date if `migrate`; leaving finishes the writes in line.

        Raises CallerMistake for what another setting would mend, NewerSchemaError, UnavailableError.
        """
        await prepare(url, migrate_first=migrate)
        waiters = Waiters(again=AGAIN)
        async with AsyncExitStack() as stack:
            connections = await stack.enter_async_context(Connections.open(url, CONNECTIONS))
            lists = await stack.enter_async_context(Connections.open(url, LISTS_AT_ONCE, LIST_SETTINGS))
            await stack.enter_async_context(listening(url, waiters))
            store = cls(connections, lists, waiters)
            stack.push_async_callback(store._reads.close)
            stack.push_async_callback(store._writes.close)
            yield store

    async def insert(self, task: Task) -> bool:
        """Write a new record. False when the id is taken."""
        write = work.insert_of(task)
        return await self._write(work.insert, write, len(write.row.doc))

    async def get(self, task_id: str) -> Stored | None:
        """Read one record. Raises NewerSchemaError."""
        found = await self._reads.do(work.get, plain(task_id))
        return Stored(task_of(found[0]), found[1]) if found else None

    async def replace(self, task: Task, tag: object) -> object:
        """Write the record's next version if it still is as it was read under this tag: its new tag, or None when it is not."""
        write = work.replace_of(task, tag)
        return write.row.version if await self._write(work.replace, write, len(write.row.doc)) else None

    async def delete(self, task: Task, tag: object) -> bool:
        """Forget the record if it still is as it was read under this tag. False when it is not."""
        return await self._write(work.delete, work.delete_of(task, tag))

    async def page(self, query: Query) -> Page:
        """List records, newest first. Raises InvalidArgumentError for a bad token, NewerSchemaError."""
        select = page_select(query, place_of(query.token))
        found = await self._lists.ask(select.sql, *select.params)
        tasks = [task_of(record["doc"]) for record in found[: query.limit]]
        return Page(tasks, token_of(Place(time_text(tasks[-1].create_time), tasks[-1].id)) if len(found) > query.limit else "")

    async def counts(self, now: datetime) -> Counts:
        """Count records of kind `call`."""
        found = await self._lists.ask(work.COUNTS, now - OVERDUE)
        return Counts(
            by_state={State(record["state"]): record["number"] for record in found},
            overdue=found[0]["overdue"] if found else 0,
            oldest=min((record["oldest"] for record in found if record["state"] in NOT_ENDED), default=None),
        )

    async def owned(self, owner: str) -> Sequence[str]:
        """List the ids of the RUNNING tasks of a runner; of every runner for an empty name."""
        found = await (self._connections.ask(work.OWNED, plain(owner)) if owner else self._connections.ask(work.RUNNING))
        return [original(record["id"]) for record in found]

    async def cancelled(self, owner: str) -> Sequence[str]:
        """List the ids of the RUNNING tasks of a runner whose cancel was asked for."""
        return [original(record["id"]) for record in await self._connections.ask(work.CANCELLED, plain(owner))]

    async def beat(self, runner: Runner) -> None:
        """Write a runner's sign of life at the server's time."""
        await self._writes.do(work.beat, runner, key=f"runner {runner.name}")

    async def runner(self, name: str) -> Runner | None:
        """Read a runner's sign of life, with its age by the server's clock."""
        found = await self._connections.ask(work.RUNNER, plain(name))
        return work.runner_of(found[0]) if found else None

    async def runners(self) -> Sequence[Runner]:
        """List all runners known, by name."""
        return [work.runner_of(record) for record in await self._connections.ask(work.RUNNERS)]

    async def purge(self, before: datetime, limit: int) -> Sequence[Task]:
        """Forget and return tasks that ended before then, longest ended first; forget runners silent since. Raises NewerSchemaError."""
        ended = [task_of(record["doc"]) for record in await self._lists.ask(work.ENDED, before, limit)]
        await self._writes.do(work.forget_runners, before, key="runners")
        deletes = [work.delete_of(task, task.version) for task in ended]
        done = await self._writes.do(work.forget, deletes, key="tasks", then=partial(self._wake, deletes))
        return [task for task, gone in zip(ended, done, strict=True) if gone]

    async def changed(self, task_id: str, after: int, patience: float) -> Stored | None:
        """Wait up to `patience` seconds for a version above `after` and return what is there then. Raises NewerSchemaError."""
        return await self._waiters.changed(lambda _: self.get(task_id), mark(task_id), after, patience)

    async def ping(self) -> None:
        """Raise UnavailableError when the server does not answer."""
        await self._connections.ask("SELECT 1 FROM longcall_task WHERE id = ''")

    async def _write(self, run: Run, write: Write, size: int = 0) -> bool:
        done: bool = await self._writes.do(run, write, key=f"task {write.id}", size=size, then=partial(self._wake, [write]))
        return done

    def _wake(self, writes: Sequence[Write]) -> None:
        for write in writes:
            self._waiters.wake(write.mark)
