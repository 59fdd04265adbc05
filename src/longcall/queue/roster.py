"""Which queues there are: their configuration and state on disk."""

import sqlite3
from asyncio import Future
from collections.abc import Callable
from datetime import datetime, timedelta

from longcall.queue import rows
from longcall.queue.errors import QUEUE_EXISTS, QUEUE_TOO_RECENT, Code, RefusedError, exists
from longcall.queue.grouping import GroupedWrites
from longcall.queue.model import Queue, QueueConfig

_COLUMNS = "number, name, config, paused, purge_time"
_INSERT = f"INSERT INTO queue (name, config) VALUES (?, ?) RETURNING {_COLUMNS}"  # noqa: S608 — two constants
_UPDATE = "UPDATE queue SET config = ?, paused = ?, purge_time = ? WHERE number = ? AND deleted IS NULL"


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

    def update(self, queue: Queue, then: Callable[[None], None]) -> Future[None]:
        """Write a queue's configuration and state."""
        values = (
            rows.config_text(queue.config),
            queue.paused,
            None if queue.purge_time is None else rows.micros(queue.purge_time),
            queue.number,
        )

        def statements(connection: sqlite3.Connection) -> None:
            connection.execute(_UPDATE, values)

        return self._writes.submit(statements, then)

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
    select = f"SELECT {_COLUMNS} FROM queue WHERE deleted IS NULL"  # noqa: S608 — a constant
    return [rows.queue(row) for row in connection.execute(select)]
