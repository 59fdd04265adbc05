"""A record as a row: its JSON, and beside it what queries and compare-and-set need of it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson

from longcall.core.target import host
from longcall.core.task import ENDS, State, Task, Unreadable
from longcall.core.text import time_text
from longcall.core.wire import Json, dumps, task_from_json, task_to_json

OVERDUE = timedelta(minutes=5)
NOT_ENDED = frozenset(State) - ENDS
DUE_STATES = frozenset({State.SCHEDULED, State.WAITING})


class Row(NamedTuple):
    """A record's columns, in the order of the table: what never changes, but for `version`, stands before `state`. Times sort as text."""

    id: str
    version: int
    kind: str
    host: str | None
    create_time: str
    state: str
    reason: str | None
    owner: str | None
    cancel_owner: str | None
    update_time: str
    finish_time: str | None
    next_attempt_time: str | None
    doc: str


def row_of(task: Task) -> Row:
    """Write a record as a row. Its JSON is made once, and the times in the columns are those in it."""
    data = task_to_json(task)
    return Row(
        id=task.id,
        version=task.version,
        kind=data["kind"],
        host=None if isinstance(task.spec, Unreadable) else host(task.spec.request.url),
        create_time=data["createTime"],
        state=data["state"],
        reason=task.failure.reason if task.failure else None,
        owner=task.owner,
        cancel_owner=task.owner if task.cancel_request_time else None,
        update_time=data["updateTime"],
        finish_time=data["finishTime"],
        next_attempt_time=data["nextAttemptTime"],
        doc=_text(data),
    )


def task_of(doc: str) -> Task:
    """Read a record. Raises NewerSchemaError for one of a newer release."""
    return task_from_json(orjson.loads(doc))


def _text(data: Json) -> str:
    """Compact JSON, by what is quickest; of what that does not write, half a character or a huge number, core's own makes the best.

    A whole number beyond 64 bits is read back as a float: only a newer release's own fields could have one.
    """
    try:
        return orjson.dumps(data).decode()
    except TypeError:
        return dumps(data).decode()


def labels_of(task: Task) -> Mapping[str, str]:
    """The labels; what can't be read has none."""
    return {} if isinstance(task.spec, Unreadable) else task.spec.labels


def overdue_before(moment: datetime) -> str:
    """A waiting task is overdue at `moment` when its next attempt's time is before this."""
    return time_text(moment - OVERDUE)
