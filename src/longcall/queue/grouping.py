"""Grouped writes: everything that waits goes into one transaction, and an idle database waits for nothing.

The statements run on the event loop, where each takes microseconds; only the commit, which waits for the disk, runs in
the writer thread. Statements run in a thread would each wait for the interpreter lock of a busy loop.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from longcall.queue.errors import Code, RefusedError

T = TypeVar("T")
Statements = Callable[[sqlite3.Connection], T]

_MOST = 256
"""How many go into one transaction: about 5 ms of the loop."""

_BUSY, _GATHER = 3, 0.002
"""After a group of so many the next one gathers for so many seconds: fewer and larger commits under load."""


@dataclass(slots=True)
class _Entry:
    # One list holds the entries of every result type.
    statements: Statements[Any]
    then: Callable[[Any], None] | None
    future: asyncio.Future[Any]
    result: Any = None
    refusal: RefusedError | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        try:
            self.result = self.statements(connection)
        except RefusedError as refusal:
            self.refusal = refusal

    def settle(self) -> None:
        if self.refusal is None and self.then is not None:
            self.then(self.result)
        if self.future.cancelled():
            return
        if self.refusal is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.refusal)

    def fail(self, error: Exception) -> None:
        if self.future.cancelled():
            return
        if isinstance(error, sqlite3.Error):
            error = RefusedError(Code.UNAVAILABLE, f"The queue's storage failed: {error}")
        self.future.set_exception(error)


class GroupedWrites:
    """The only way to a connection while the loop runs. The connection must be in autocommit mode.

    ``on_disk`` is False for a database in memory, whose commits wait for nothing.
    """

    def __init__(self, connection: sqlite3.Connection, *, on_disk: bool = True) -> None:
        self._connection = connection
        self._on_disk = on_disk
        self._waiting: list[_Entry] = []
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="longcall-queue-writer")
        self._running: asyncio.Task[None] | None = None

    def submit(self, statements: Statements[T], then: Callable[[T], None] | None = None) -> asyncio.Future[T]:
        """Run ``statements`` in the next transaction; the future has their result when it is durable.

        They may raise RefusedError, but only before they write. ``then`` gets the result first, and also when whoever
        waited has gone: what is written must be known. A database error fails the whole group with UNAVAILABLE.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(statements, then, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return future

    async def close(self) -> None:
        """Finish what waits."""
        if self._running is not None:
            await self._running
        self._writer.shutdown()

    async def _run(self) -> None:
        try:
            for group in self._groups():
                await self._write(group)
                if self._on_disk and len(group) >= _BUSY:
                    await asyncio.sleep(_GATHER)
        finally:
            self._running = None

    def _groups(self) -> Iterator[list[_Entry]]:
        while self._waiting:
            group, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            yield group

    async def _write(self, group: list[_Entry]) -> None:
        try:
            await self._transact(group)
        except Exception as error:  # noqa: BLE001 — whoever waits gets it; the next group must run
            if self._connection.in_transaction:
                self._connection.rollback()
            for entry in group:
                entry.fail(error)
            return
        for entry in group:
            entry.settle()

    async def _transact(self, group: list[_Entry]) -> None:
        before = self._connection.total_changes
        self._connection.execute("BEGIN IMMEDIATE")
        for entry in group:
            entry.run(self._connection)
        if not self._on_disk or self._connection.total_changes == before:
            self._connection.commit()  # nothing waits for the disk
        else:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._connection.commit)
