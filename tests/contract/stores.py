"""The stores under contract: how each is opened empty, how its clock is moved, and how its records are written past it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from longcall.core.wire import dumps, loads
from longcall.engine.ports import Store
from longcall.stores.memory import MemoryStore
from longcall.stores.sqlite import SqliteStore

START = datetime(2026, 11, 24, 8, tzinfo=UTC)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        """The time it shows."""
        return self.time


@dataclass(frozen=True)
class Driver:
    """An empty store, and what is done to it from outside."""

    store: Store
    elapse: Callable[[timedelta], Awaitable[None]]
    plant: Callable[[str, dict[str, object]], Awaitable[None]]


def elapse_by(clock: Clock) -> Callable[[timedelta], Awaitable[None]]:
    """Move the clock of a store that is given one."""

    async def elapse(time: timedelta) -> None:
        clock.time += time

    return elapse


@asynccontextmanager
async def memory(_folder: Path) -> AsyncIterator[Driver]:
    """The store in memory."""
    clock = Clock()
    store = MemoryStore(clock.now)

    async def plant(task_id: str, fields: dict[str, object]) -> None:
        records = store._records  # noqa: SLF001 — a test writes what no store would
        record = records[task_id]
        records[task_id] = replace(record, row=record.row._replace(doc=dumps(loads(record.row.doc) | fields).decode()))

    yield Driver(store, elapse_by(clock), plant)


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Driver]:
    """The store in a SQLite file."""
    clock = Clock()
    path = folder / "longcall.db"

    def write(task_id: str, fields: dict[str, object]) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            (doc,) = connection.execute("SELECT doc FROM task WHERE id = ?", (task_id,)).fetchone()
            connection.execute("UPDATE task SET doc = ? WHERE id = ?", (dumps(loads(doc) | fields).decode(), task_id))

    async def plant(task_id: str, fields: dict[str, object]) -> None:
        await asyncio.to_thread(write, task_id, fields)

    async with SqliteStore.open(path, clock.now) as store:
        yield Driver(store, elapse_by(clock), plant)
