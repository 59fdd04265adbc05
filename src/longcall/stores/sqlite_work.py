"""What is done on a connection, on its own thread: groups of writes in one transaction, and the statements themselves."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from longcall.core.errors import UnavailableError, UnclearError
from longcall.core.task import State, Task
from longcall.core.text import parse_time, time_text
from longcall.engine.ports import Counts, Runner
from longcall.stores.rows import NOT_ENDED, Row, overdue_before, task_of

Work = Callable[[sqlite3.Connection], Any]

_INSERT = f"INSERT INTO task ({', '.join(Row._fields)}) VALUES ({', '.join('?' * len(Row._fields))}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 — the table's own columns
_INSERT_LABEL = "INSERT INTO task_label (key, value, kind, create_time, id) VALUES (?, ?, ?, ?, ?)"
# Only what changes, so that the indexes on what does not are left alone. The create time tells a record from an older one of the same id.
_REPLACE = """
UPDATE task SET version = ?, state = ?, reason = ?, owner = ?, cancel_owner = ?, update_time = ?,
    finish_time = ?, next_attempt_time = ?, doc = ?
WHERE id = ? AND version = ? AND create_time = ?
"""
_BEAT = """
INSERT INTO runner (name, start_time, beat_time, calls, drained, gone) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET start_time = excluded.start_time, beat_time = excluded.beat_time, calls = excluded.calls,
    drained = excluded.drained, gone = excluded.gone
"""
_ENDED = """
SELECT doc FROM task INDEXED BY task_finish
WHERE finish_time < ? AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') ORDER BY finish_time, id LIMIT ?
"""
_OVERDUE = """
SELECT count(*) FROM task INDEXED BY task_next
WHERE kind = 'call' AND next_attempt_time < ? AND state IN ('SCHEDULED', 'WAITING')
"""


# Groups


def commit(connection: sqlite3.Connection, group: Sequence[Work]) -> Sequence[Any]:
    """Do a group of writes in one transaction. Each answer is the write's own, or the error to raise for it."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        return [_unavailable(error) for _ in group]
    try:
        answers = [write(connection) for write in group]
    except Exception as error:  # noqa: BLE001 — whatever one write fails with must not fail the others
        _roll_back(connection)
        return [_as_ours(error)] if len(group) == 1 else [answer for write in group for answer in commit(connection, [write])]
    return _committed(connection, answers)


def _committed(connection: sqlite3.Connection, answers: Sequence[Any]) -> Sequence[Any]:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _roll_back(connection)
        return [UnclearError(f"SQLite did not say whether it kept a write: {error}") for _ in answers]
    return answers


def read(connection: sqlite3.Connection, group: Sequence[Work]) -> Sequence[Any]:
    """Do a group of reads, each for itself."""
    return [_read(connection, work) for work in group]


def _read(connection: sqlite3.Connection, work: Work) -> Any:  # noqa: ANN401 — an answer, or the error to raise
    try:
        return work(connection)
    except Exception as error:  # noqa: BLE001 — as in `commit`
        return _as_ours(error)


def _as_ours(error: Exception) -> Exception:
    return _unavailable(error) if isinstance(error, sqlite3.Error) else error


def _unavailable(error: sqlite3.Error) -> UnavailableError:
    return UnavailableError(f"the SQLite store is out of reach: {error}")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


# Writes


def insert(connection: sqlite3.Connection, row: Row, labels: Mapping[str, str]) -> bool:
    """Write a new record and its labels. False when the id is taken."""
    if connection.execute(_INSERT, row).rowcount == 0:
        return False
    if labels:
        connection.executemany(_INSERT_LABEL, [(key, value, row.kind, row.create_time, row.id) for key, value in labels.items()])
    return True


def replace(connection: sqlite3.Connection, row: Row, tag: object) -> bool:
    """Write the next version over the one with this tag. False when that is not what is there."""
    return connection.execute(_REPLACE, (row.version, *row[5:], row.id, tag, row.create_time)).rowcount == 1


def delete(connection: sqlite3.Connection, task: Task, tag: object) -> bool:
    """Forget the record with this tag, and its labels. False when that is not what is there."""
    place = (task.id, tag, time_text(task.create_time))
    if connection.execute("DELETE FROM task WHERE id = ? AND version = ? AND create_time = ?", place).rowcount == 0:
        return False
    connection.execute("DELETE FROM task_label WHERE id = ?", (task.id,))
    return True


def beat(connection: sqlite3.Connection, runner: Runner, now: datetime) -> None:
    """Write a runner's sign of life at `now`."""
    row = (runner.name, time_text(runner.start_time), time_text(now), runner.calls, runner.drained, runner.gone)
    connection.execute(_BEAT, row)


def purge(connection: sqlite3.Connection, before: datetime, limit: int) -> list[Task]:
    """Forget tasks that ended before then, and runners silent since. Raises NewerSchemaError, and then nothing is forgotten."""
    gone = [task_of(doc) for (doc,) in connection.execute(_ENDED, (time_text(before), limit))]
    for task in gone:
        delete(connection, task, task.version)
    connection.execute("DELETE FROM runner WHERE beat_time < ?", (time_text(before),))
    return gone


# Reads


def get(connection: sqlite3.Connection, task_id: str) -> tuple[str, int] | None:
    """The JSON and version of a record."""
    found: tuple[str, int] | None = connection.execute("SELECT doc, version FROM task WHERE id = ?", (task_id,)).fetchone()
    return found


def versions(connection: sqlite3.Connection, task_ids: Sequence[str]) -> dict[str, int]:
    """The versions of those of these ids that have a record."""
    found = ((task_id, connection.execute("SELECT version FROM task WHERE id = ?", (task_id,)).fetchone()) for task_id in task_ids)
    return {task_id: row[0] for task_id, row in found if row}


def owned(connection: sqlite3.Connection, owner: str) -> list[str]:
    """The ids of a runner's RUNNING tasks; of every runner's for an empty name."""
    if owner:
        found = connection.execute(
            "SELECT id FROM task INDEXED BY task_running WHERE state = 'RUNNING' AND owner = ? ORDER BY id", (owner,)
        )
    else:
        found = connection.execute("SELECT id FROM task INDEXED BY task_running WHERE state = 'RUNNING' ORDER BY id")
    return [task_id for (task_id,) in found]


def cancelled(connection: sqlite3.Connection, owner: str) -> list[str]:
    """The ids of a runner's RUNNING tasks whose cancel was asked for."""
    found = connection.execute(
        "SELECT id FROM task INDEXED BY task_cancel WHERE cancel_owner = ? AND state = 'RUNNING' ORDER BY id", (owner,)
    )
    return [task_id for (task_id,) in found]


def runners(connection: sqlite3.Connection, now: datetime, name: str | None = None) -> list[Runner]:
    """Runners by name, or the one of this name; their age is at `now`."""
    columns = "SELECT name, start_time, beat_time, calls, drained, gone FROM runner"
    found = connection.execute(f"{columns} ORDER BY name") if name is None else connection.execute(f"{columns} WHERE name = ?", (name,))
    return [_runner(row, now) for row in found]


def _runner(row: tuple[str, str, str, int, int, int], now: datetime) -> Runner:
    name, start, beat_text, calls, drained, gone = row
    beat_time = parse_time(beat_text)
    return Runner(name, parse_time(start), beat_time, age=now - beat_time, calls=calls, drained=bool(drained), gone=bool(gone))


def counts(connection: sqlite3.Connection, now: datetime) -> Counts:
    """How many calls stand where."""
    by_state = connection.execute("SELECT state, count(*) FROM task WHERE kind = 'call' GROUP BY state").fetchall()
    overdue = connection.execute(_OVERDUE, (overdue_before(now),)).fetchone()[0]
    return Counts({State(state): number for state, number in by_state}, overdue, _oldest(connection))


def _oldest(connection: sqlite3.Connection) -> datetime | None:
    first = "SELECT min(create_time) FROM task WHERE kind = 'call' AND state = ?"
    found = [connection.execute(first, (state.value,)).fetchone()[0] for state in NOT_ENDED]
    return min((parse_time(text) for text in found if text is not None), default=None)
