"""Which queues there are: their configuration, state and policy on disk."""

import sqlite3
from asyncio import Future
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from longcall.queue import rows
from longcall.queue.errors import QUEUE_EXISTS, QUEUE_MISSING, QUEUE_TOO_RECENT, Code, RefusedError, exists, missing
from longcall.queue.grouping import GroupedWrites
from longcall.queue.model import Queue, QueueConfig

_COLUMNS = "number, name, config, paused, purge_time, purged"
_INSERT = f"INSERT INTO queue (name, config) VALUES (?, ?) RETURNING {_COLUMNS}"  # noqa: S608 — two constants
_SELECT = f"SELECT {_COLUMNS} FROM queue WHERE deleted IS NULL"  # noqa: S608 — a constant
_UPDATE = "UPDATE queue SET config = ?, paused = ?, purge_time = ?, purged = ? WHERE number = ?"
_LAST = "SELECT coalesce(max(number), 0) FROM task"
_POLICY = "SELECT policy FROM queue WHERE number = ? AND deleted IS NULL"


class Roster:
    """The queues; a deleted one's name is blocked for ``names_kept``."""

    def __init__(self, writes: GroupedWrites, names_kept: timedelta) -> None:
        self._writes = writes
        self._kept = rows.span_micros(names_kept)

    def insert(self, config: QueueConfig, at: datetime, then: Callable[[Queue], None]) -> Future[Queue]:
        """Insert a new queue. Refuses a name that is in use, or was so too recently."""

        def statements(connection: sqlite3.Connection) -> Queue:
            found = connection.execute("SELECT deleted FROM queue WHERE name = ?", (config.name,)).fetchone()
            if found is not None:
                self._check_free(found[0], at)
            return insert(connection, config)

        return self._writes.submit(statements, then)

    def change(self, queue: Queue, change: Callable[[Queue], Queue], then: Callable[[Queue], None]) -> Future[Queue]:
        """Write what ``change`` makes of the queue as it then stands: two changes at once are one after the other.

        ``change`` may refuse.
        """
        return self._writes.submit(lambda connection: _write(connection, change(_read(connection, queue))), then)

    def purge(self, queue: Queue, at: datetime, then: Callable[[Queue], None]) -> Future[Queue]:
        """Write down that all tasks that are there are purged."""

        def statements(connection: sqlite3.Connection) -> Queue:
            (last,) = connection.execute(_LAST).fetchone()
            return _write(connection, replace(_read(connection, queue), purge_time=at, purged=last))

        return self._writes.submit(statements, then)

    def policy(self, queue: Queue, change: Callable[[bytes | None], bytes | None] | None = None) -> Future[bytes | None]:
        """Return the queue's policy, after writing what ``change`` makes of it, which may refuse."""

        def statements(connection: sqlite3.Connection) -> bytes | None:
            found: list[tuple[bytes | None]] = connection.execute(_POLICY, (queue.number,)).fetchall()
            if not found:
                raise missing(QUEUE_MISSING)
            if change is None:
                return found[0][0]
            changed = change(found[0][0])
            connection.execute("UPDATE queue SET policy = ? WHERE number = ?", (changed, queue.number))
            return changed

        return self._writes.submit(statements)

    def delete(self, queue: Queue, at: datetime, then: Callable[[None], None]) -> Future[None]:
        """Mark a queue as deleted; its tasks are then nobody's."""

        def statements(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE queue SET deleted = ? WHERE number = ?", (rows.micros(at), queue.number))

        return self._writes.submit(statements, then)

    def _check_free(self, deleted: int | None, at: datetime) -> None:
        if deleted is None:
            raise exists(QUEUE_EXISTS)
        if deleted > rows.micros(at) - self._kept:
            raise RefusedError(Code.FAILED_PRECONDITION, QUEUE_TOO_RECENT)


def insert(connection: sqlite3.Connection, config: QueueConfig) -> Queue:
    """Insert a queue in place of a deleted one of its name."""
    connection.execute("DELETE FROM queue WHERE name = ? AND deleted IS NOT NULL", (config.name,))
    return rows.queue(connection.execute(_INSERT, (config.name, rows.config_text(config))).fetchall()[0])


def load(connection: sqlite3.Connection) -> list[Queue]:
    """Read the queues, after removing what deleted ones left behind."""
    nobodys = "queue NOT IN (SELECT number FROM queue WHERE deleted IS NULL)"
    connection.execute(f"DELETE FROM task WHERE {nobodys}")  # noqa: S608 — a constant
    connection.execute(f"DELETE FROM gone WHERE {nobodys}")  # noqa: S608 — a constant
    return [rows.queue(row) for row in connection.execute(_SELECT)]


def _read(connection: sqlite3.Connection, queue: Queue) -> Queue:
    found = connection.execute(f"{_SELECT} AND number = ?", (queue.number,)).fetchall()
    if not found:
        raise missing(QUEUE_MISSING)
    return rows.queue(found[0])


def _write(connection: sqlite3.Connection, queue: Queue) -> Queue:
    purged = None if queue.purge_time is None else rows.micros(queue.purge_time)
    connection.execute(_UPDATE, (rows.config_text(queue.config), queue.paused, purged, queue.purged, queue.number))
    return queue
