"""The stores under contract, each behind the same fixtures. What a store needs done in its own way is a fact of its driver."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from longcall.core.lifecycle import create
from longcall.core.task import HttpRequest, Task, TaskSpec
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
    """A store, and how its clock is moved and its records are written past it."""

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


@pytest.fixture(params=[memory, sqlite], ids=lambda driver: driver.__name__)
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driver]:
    """Each store in turn."""
    async with request.param(tmp_path) as driver:
        yield driver


@pytest.fixture
def store(driver: Driver) -> Store:
    """The store."""
    return driver.store


@pytest.fixture
def elapse(driver: Driver) -> Callable[[timedelta], Awaitable[None]]:
    """Let so much time pass on the store's own clock."""
    return driver.elapse


@pytest.fixture
def plant(driver: Driver) -> Callable[[str, dict[str, object]], Awaitable[None]]:
    """Write fields into a record's JSON past the store, as another release might have."""
    return driver.plant


@pytest.fixture
def make() -> Callable[..., Task]:
    """Make a SCHEDULED task created `second` seconds after the start; anything else replaces a field of it."""

    def make(task_id: str = "a", second: float = 0, *, spec: TaskSpec | None = None, **fields: object) -> Task:
        spec = spec or TaskSpec(HttpRequest("https://target.example/train"))
        task = create(task_id, spec, queue="projects/p/locations/l/queues/q", trace="0af7", now=START + timedelta(seconds=second))
        return replace(task, **fields)  # type: ignore[arg-type]  # fields by name, as `replace` takes them

    return make
