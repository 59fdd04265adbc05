"""What is said to PostgreSQL: each statement takes a whole group as arrays, a column each, and answers for each of the group."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

import asyncpg

from longcall.core.task import ENDS, Task
from longcall.core.text import time_text
from longcall.engine.ports import Runner
from longcall.stores.postgres_server import Connection
from longcall.stores.postgres_text import mark, original, plain, plain_host, plain_or_none
from longcall.stores.rows import Row, labels_of, row_of

CHANNEL = "longcall"
# A notification has at most 7,999 bytes; a mark and its gap have 17.
_MARKS_AT_ONCE = 400
_TELL = f"(SELECT count(pg_notify('{CHANNEL}', text)) FROM unnest($%d::text[]) AS text)"  # noqa: S608 — of this module's own words

_COLUMNS = ", ".join(Row._fields)
_TAKEN = ", ".join(f"{name}::timestamptz" if name.endswith("_time") else name for name in Row._fields)
_ARRAYS = ", ".join(f"${n}::{'int' if name == 'version' else 'text'}[]" for n, name in enumerate(Row._fields, 1))
_INSERT = f"""
WITH new AS (
    INSERT INTO longcall_task ({_COLUMNS}) SELECT {_TAKEN} FROM unnest({_ARRAYS}) AS asked ({_COLUMNS})
    ON CONFLICT (id) DO NOTHING RETURNING id, kind, create_time
), labelled AS (
    INSERT INTO longcall_label (key, value, kind, create_time, id)
    SELECT key, value, kind, create_time, id
    FROM unnest($14::text[], $15::text[], $16::text[]) AS asked (id, key, value) JOIN new USING (id)
)
SELECT ARRAY(SELECT id FROM new) AS done, {_TELL % 17}
"""  # noqa: S608 — the table's own columns
# Only what changes. The create time tells a record from an older one of the same id.
REPLACE = f"""
WITH done AS (
    UPDATE longcall_task AS task SET version = asked.version, state = asked.state, reason = asked.reason, owner = asked.owner,
        cancel_owner = asked.cancel_owner, update_time = asked.update_time::timestamptz, finish_time = asked.finish_time::timestamptz,
        next_attempt_time = asked.next_attempt_time::timestamptz, doc = asked.doc
    FROM unnest($1::text[], $2::int[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
        $11::text[], $12::text[]) AS asked (id, tag, version, create_time, state, reason, owner, cancel_owner, update_time, finish_time,
        next_attempt_time, doc)
    WHERE task.id = asked.id AND task.version = asked.tag AND task.create_time = asked.create_time::timestamptz
    RETURNING task.id
)
SELECT ARRAY(SELECT id FROM done) AS done, {_TELL % 13}
"""  # noqa: S608 — as above
DELETE = f"""
WITH done AS (
    DELETE FROM longcall_task AS task USING unnest($1::text[], $2::int[], $3::text[]) AS asked (id, tag, create_time)
    WHERE task.id = asked.id AND task.version = asked.tag AND task.create_time = asked.create_time::timestamptz
    RETURNING task.id, task.kind, task.create_time
), unlabelled AS (
    DELETE FROM longcall_label AS label
    USING unnest($4::text[], $5::text[], $6::text[]) AS asked (id, key, value) JOIN done USING (id)
    WHERE (label.key, label.value, label.kind, label.create_time, label.id) = (asked.key, asked.value, done.kind, done.create_time, done.id)
)
SELECT ARRAY(SELECT id FROM done) AS done, {_TELL % 7}
"""  # noqa: S608 — as above
_BEAT = """
INSERT INTO longcall_runner (name, start_time, beat_time, calls, drained, gone)
SELECT name, start_time, now(), calls, drained, gone FROM unnest($1::text[], $2::timestamptz[], $3::int[], $4::bool[], $5::bool[])
    AS asked (name, start_time, calls, drained, gone)
ON CONFLICT (name) DO UPDATE SET start_time = excluded.start_time, beat_time = excluded.beat_time, calls = excluded.calls,
    drained = excluded.drained, gone = excluded.gone
"""
GET = "SELECT id, version, doc FROM longcall_task WHERE id = ANY($1::text[])"

RUNNERS = "SELECT name, start_time, beat_time, now() - beat_time AS age, calls, drained, gone FROM longcall_runner ORDER BY name"
RUNNER = "SELECT name, start_time, beat_time, now() - beat_time AS age, calls, drained, gone FROM longcall_runner WHERE name = $1"
_SILENT = "DELETE FROM longcall_runner WHERE beat_time < $1"
OWNED = "SELECT id FROM longcall_task WHERE state = 'RUNNING' AND owner = $1 ORDER BY id"
RUNNING = "SELECT id FROM longcall_task WHERE state = 'RUNNING' ORDER BY id"
CANCELLED = "SELECT id FROM longcall_task WHERE state = 'RUNNING' AND cancel_owner = $1 ORDER BY id"
ENDED = f"""
SELECT doc FROM longcall_task WHERE finish_time < $1 AND state IN ({", ".join(f"'{state}'" for state in sorted(ENDS))})
ORDER BY finish_time, id LIMIT $2
"""  # noqa: S608 — the states that are ends
# One walk through an index for all states; what is overdue has its own.
COUNTS = """
SELECT state, count(*) AS number, min(create_time) AS oldest, (
    SELECT count(*) FROM longcall_task WHERE kind = 'call' AND next_attempt_time < $1 AND state IN ('SCHEDULED', 'WAITING')
) AS overdue
FROM longcall_task WHERE kind = 'call' GROUP BY state
"""


class Insert(NamedTuple):
    """A new record. `mark` is what others are told of it."""

    id: str
    mark: str
    row: Row
    labels: Sequence[tuple[str, str]]


class Replace(NamedTuple):
    """The next version of the record with this tag."""

    id: str
    mark: str
    row: Row
    tag: object


class Delete(NamedTuple):
    """The end of the record with this tag."""

    id: str
    mark: str
    tag: object
    create_time: str
    labels: Sequence[tuple[str, str]]


Written = TypeVar("Written", Insert, Replace, Delete)


def insert_of(task: Task) -> Insert:
    """A new record to write."""
    row = _plain(row_of(task))
    return Insert(row.id, mark(task.id), row, _labels(task))


def replace_of(task: Task, tag: object) -> Replace:
    """The next version to write over the one with this tag."""
    row = _plain(row_of(task))
    return Replace(row.id, mark(task.id), row, tag)


def delete_of(task: Task, tag: object) -> Delete:
    """The record with this tag to forget. Its labels are those it was written with: labels never change."""
    return Delete(plain(task.id), mark(task.id), tag, time_text(task.create_time), _labels(task))


def _plain(row: Row) -> Row:
    return row._replace(
        id=plain(row.id),
        host=plain_host(row.host),
        reason=plain_or_none(row.reason),
        owner=plain_or_none(row.owner),
        cancel_owner=plain_or_none(row.cancel_owner),
    )


def _labels(task: Task) -> Sequence[tuple[str, str]]:
    return [(plain(key), plain(value)) for key, value in labels_of(task).items()]


async def insert(connection: Connection, asked: Sequence[Insert]) -> Sequence[bool]:
    """Write new records and their labels. False for an id that is taken."""
    rows = [write.row for write in _sorted(asked)]
    return await _write(connection, _INSERT, asked, *_columns(rows), *_columns(_label_rows(asked), 3))


async def replace(connection: Connection, asked: Sequence[Replace]) -> Sequence[bool]:
    """Write next versions. False for what is not there any more as it was."""
    rows = [(write.id, write.tag, write.row.version, *write.row[4:]) for write in _sorted(asked)]
    return await _write(connection, REPLACE, asked, *_columns(rows))


async def delete(connection: Connection, asked: Sequence[Delete]) -> Sequence[bool]:
    """Forget records and their labels. False for what is not there any more as it was."""
    rows = [(write.id, write.tag, write.create_time) for write in _sorted(asked)]
    return await _write(connection, DELETE, asked, *_columns(rows, 3), *_columns(_label_rows(asked), 3))


async def forget(connection: Connection, asked: Sequence[Sequence[Delete]]) -> Sequence[Sequence[bool]]:
    """Forget many records in one statement."""
    return [await delete(connection, deletes) for deletes in asked]


async def forget_runners(connection: Connection, asked: Sequence[datetime]) -> Sequence[None]:
    """Forget the runners silent since then."""
    await connection.execute(_SILENT, max(asked))
    return [None] * len(asked)


async def beat(connection: Connection, asked: Sequence[Runner]) -> Sequence[None]:
    """Write signs of life, dated by the server."""
    rows = [(plain(runner.name), runner.start_time, runner.calls, runner.drained, runner.gone) for runner in asked]
    await connection.execute(_BEAT, *_columns(rows))
    return [None] * len(asked)


async def get(connection: Connection, asked: Sequence[str]) -> Sequence[tuple[str, int] | None]:
    """The JSON and version of records."""
    found = {record["id"]: (record["doc"], record["version"]) for record in await connection.fetch(GET, list(set(asked)))}
    return [found.get(task_id) for task_id in asked]


def runner_of(record: asyncpg.Record) -> Runner:
    """Read a runner's sign of life."""
    name, start_time, beat_time, age, calls, drained, gone = record
    return Runner(original(name), start_time, beat_time, age, calls, drained, gone)


async def _write(connection: Connection, sql: str, asked: Sequence[Written], *columns: Sequence[object]) -> Sequence[bool]:
    marks = [write.mark for write in asked]
    texts = [" ".join(marks[n : n + _MARKS_AT_ONCE]) for n in range(0, len(marks), _MARKS_AT_ONCE)]
    done = set(await connection.fetchval(sql, *columns, texts))
    return [write.id in done for write in asked]


def _sorted(asked: Sequence[Written]) -> Sequence[Written]:
    """In the order of ids, as every process has them, so that no two wait for each other."""
    return sorted(asked, key=lambda write: write.id)


def _label_rows(asked: Sequence[Insert] | Sequence[Delete]) -> Sequence[tuple[str, str, str]]:
    return [(write.id, key, value) for write in asked for key, value in write.labels]


def _columns(rows: Sequence[Sequence[object]], width: int = 0) -> Sequence[Sequence[object]]:
    """Rows on their side; of no rows so many empty columns."""
    return list(zip(*rows, strict=True)) or [()] * width
