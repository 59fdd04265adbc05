"""What the queue remembers, in one SQLite file or in memory: it reads and writes, and decides nothing.

Every future is done when its write is durable. ``then`` gets the result first, also when the caller has gone.
"""

import sqlite3
from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from longcall.queue import lifecycle, rows
from longcall.queue.errors import ENTITY_EXISTS, ENTITY_MISSING, TASK_GONE, exists, missing
from longcall.queue.grouping import GroupedWrites
from longcall.queue.model import Draft, Queue, QueuedTask

PAGE_BYTES = 2_000_000
"""Bodies in one page of tasks: below gRPC's default limit of 4 MiB for a message."""

_CHUNK = 1000

_INSERT = """
INSERT INTO task (queue, id, target, body, schedule, created, deadline, retry) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
WHERE NOT EXISTS (SELECT 1 FROM gone WHERE queue = ?1 AND id = ?2 AND since > ?9) ON CONFLICT DO NOTHING RETURNING number"""
_TAKE = """
UPDATE task SET open = 1, dispatch_count = dispatch_count + 1, first_dispatch = coalesce(first_dispatch, :at),
    last_schedule = schedule, last_dispatch = :at, last_response = NULL, last_code = NULL, last_message = ''
WHERE number = :number AND open = 0 RETURNING *"""
_WAIT = """
UPDATE task SET open = 0, schedule = ?, response_count = ?, execution_count = ?, previous = ?,
    last_response = ?, last_code = ?, last_message = ?
WHERE number = ? AND open = 1 AND dispatch_count = ?"""
_DONE = "DELETE FROM task WHERE number = ? AND open = 1 AND dispatch_count = ? RETURNING queue, id"
_DELETE_SOME = """
DELETE FROM task WHERE number IN (SELECT number FROM task WHERE queue = ? AND number <= ? LIMIT ?) RETURNING number, id"""
_GONE = "INSERT OR REPLACE INTO gone (queue, id, since) VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Page:
    """Some tasks in the order of their ids; ``more`` says whether others follow."""

    tasks: Sequence[QueuedTask]
    more: bool


class TaskStorage:
    """The tasks of all queues, and the names of those that are gone for ``names_kept``."""

    def __init__(self, writes: GroupedWrites, names_kept: timedelta) -> None:
        self._writes = writes
        self._kept = rows.span_micros(names_kept)

    def insert(self, queue: Queue, draft: Draft, task_id: str, at: datetime, then: Callable[[QueuedTask], None]) -> Future[QueuedTask]:
        """Insert a new task. Refuses a name that is in use or was so recently with ALREADY_EXISTS."""
        due = draft.schedule_time or at
        values = (
            queue.number,
            task_id,
            rows.target_text(draft.target),
            draft.target.body,
            rows.micros(due),
            rows.micros(at),
            None if draft.dispatch_deadline is None else rows.span_micros(draft.dispatch_deadline),
            None if draft.retry is None else rows.retry_text(draft.retry),
            rows.micros(at) - self._kept,
        )

        def statements(connection: sqlite3.Connection) -> QueuedTask:
            inserted = _only(connection.execute(_INSERT, values).fetchall())
            if inserted is None:
                raise exists(ENTITY_EXISTS)
            return _new(inserted[0], queue, draft, task_id, at)

        return self._writes.submit(statements, then)

    def read(self, queue: Queue, task_id: str, at: datetime) -> Future[QueuedTask]:
        """Read one task. Refuses a missing one with NOT_FOUND, in other words if it existed recently."""
        return self._writes.submit(lambda connection: self._read(connection, queue, task_id, at))

    def page(self, queue: Queue, after: str, size: int) -> Future[Page]:
        """Read at most ``size`` tasks whose ids come after ``after``, fewer if their bodies are large."""
        select = "SELECT * FROM task WHERE queue = ? AND id > ? AND number > ? ORDER BY id LIMIT ?"

        def statements(connection: sqlite3.Connection) -> Page:
            tasks: list[QueuedTask] = []
            room = PAGE_BYTES
            for row in connection.execute(select, (queue.number, after, queue.purged, size + 1)):
                task = rows.task(row, queue.config.name)
                room -= len(task.target.body)
                if len(tasks) == size or (tasks and room < 0):
                    return Page(tasks, more=True)
                tasks.append(task)
            return Page(tasks, more=False)

        return self._writes.submit(statements)

    def delete(self, queue: Queue, task_id: str, at: datetime, then: Callable[[int], None]) -> Future[int]:
        """Delete one task and return its number. Refuses as ``read`` does."""

        def statements(connection: sqlite3.Connection) -> int:
            task = self._read(connection, queue, task_id, at)
            connection.execute("DELETE FROM task WHERE number = ?", (task.number,))
            connection.execute(_GONE, (queue.number, task_id, rows.micros(at)))
            return task.number

        return self._writes.submit(statements, then)

    def delete_some(self, queue: Queue, last: int, at: datetime) -> Future[Sequence[int]]:
        """Delete a thousand of the queue's tasks numbered up to ``last``; return their numbers, none at the end."""
        return self._writes.submit(lambda connection: _delete_some(connection, queue, last, at))

    def take(
        self, queue: Queue, numbers: Iterable[int], at: datetime, then: Callable[[list[QueuedTask]], None]
    ) -> Future[list[QueuedTask]]:
        """Count the beginning of a dispatch in each task that still waits, and return these tasks."""
        keys = [{"number": number, "at": rows.micros(at)} for number in numbers if number > queue.purged]

        def statements(connection: sqlite3.Connection) -> list[QueuedTask]:
            taken = [row for key in keys for row in connection.execute(_TAKE, key).fetchall()]
            return [rows.task(row, queue.config.name) for row in taken]

        return self._writes.submit(statements, then)

    def wait(self, task: QueuedTask) -> Future[bool]:
        """Write a task as it waits for its next dispatch; False if it was deleted meanwhile."""
        return self._writes.submit(lambda connection: _write_waiting(connection, task))

    def finish(self, task: QueuedTask, at: datetime) -> Future[bool]:
        """Delete a task whose dispatch ended it; False if it was deleted before."""

        def statements(connection: sqlite3.Connection) -> bool:
            name = _only(connection.execute(_DONE, (task.number, task.dispatch_count)).fetchall())
            if name is not None:
                connection.execute(_GONE, (*name, rows.micros(at)))
            return name is not None

        return self._writes.submit(statements)

    def forget_names(self, at: datetime) -> Future[int]:
        """Forget a thousand of the names that were kept long enough; return how many it were."""
        oldest = "SELECT number FROM gone ORDER BY number LIMIT ?"
        delete = f"DELETE FROM gone WHERE number IN ({oldest}) AND since <= ?"  # noqa: S608 — two constants
        values = (_CHUNK, rows.micros(at) - self._kept)
        return self._writes.submit(lambda connection: connection.execute(delete, values).rowcount)

    def _read(self, connection: sqlite3.Connection, queue: Queue, task_id: str, at: datetime) -> QueuedTask:
        select = "SELECT * FROM task WHERE queue = ? AND id = ?"
        row = _only(connection.execute(select, (queue.number, task_id)).fetchall())
        if row is not None and row[0] > queue.purged:
            return rows.task(row, queue.config.name)
        gone = row is not None or self._is_gone(connection, queue, task_id, at)
        raise missing(TASK_GONE if gone else ENTITY_MISSING)

    def _is_gone(self, connection: sqlite3.Connection, queue: Queue, task_id: str, at: datetime) -> bool:
        select = "SELECT 1 FROM gone WHERE queue = ? AND id = ? AND since > ?"
        return bool(connection.execute(select, (queue.number, task_id, rows.micros(at) - self._kept)).fetchall())


def finish_purge(connection: sqlite3.Connection, queue: Queue, at: datetime) -> None:
    """Delete what a purge had still to delete when the queue last stopped."""
    while _delete_some(connection, queue, queue.purged, at):
        pass


def take_back(connection: sqlite3.Connection, queue: Queue, at: datetime) -> None:
    """Make the tasks whose dispatch was open when the queue last stopped due at ``at``."""
    for row in connection.execute("SELECT * FROM task WHERE queue = ? AND open = 1", (queue.number,)).fetchall():
        _write_waiting(connection, lifecycle.lost(rows.task(row, queue.config.name), at))


def waiting(connection: sqlite3.Connection, queue: Queue) -> list[tuple[datetime, int]]:
    """Read when which task of the queue is due, by number."""
    select = "SELECT schedule, number FROM task WHERE queue = ?"
    return [(rows.time(due), number) for due, number in connection.execute(select, (queue.number,))]


def _new(number: int, queue: Queue, draft: Draft, task_id: str, at: datetime) -> QueuedTask:
    return QueuedTask(
        number=number,
        queue=queue.config.name,
        id=task_id,
        target=draft.target,
        schedule_time=draft.schedule_time or at,
        create_time=at,
        dispatch_deadline=draft.dispatch_deadline,
        retry=draft.retry,
    )


def _delete_some(connection: sqlite3.Connection, queue: Queue, last: int, at: datetime) -> Sequence[int]:
    deleted = connection.execute(_DELETE_SOME, (queue.number, last, _CHUNK)).fetchall()
    connection.executemany(_GONE, [(queue.number, id_, rows.micros(at)) for _, id_ in deleted])
    return [number for number, _ in deleted]


def _write_waiting(connection: sqlite3.Connection, task: QueuedTask) -> bool:
    last = task.last_attempt
    values = (
        rows.micros(task.schedule_time),
        task.response_count,
        task.execution_count,
        task.previous_response,
        None if last is None or last.response_time is None else rows.micros(last.response_time),
        None if last is None else last.code,
        "" if last is None else last.message,
        task.number,
        task.dispatch_count,
    )
    return connection.execute(_WAIT, values).rowcount == 1


def _only(found: list[rows.Row]) -> rows.Row | None:
    return found[0] if found else None
