"""A record as a Firestore document: its JSON in one field without an index, and beside it only what queries ask for."""

from datetime import datetime, timedelta
from typing import Any

from google.cloud.firestore_v1.base_document import DocumentSnapshot
from google.cloud.firestore_v1.transforms import DELETE_FIELD, SERVER_TIMESTAMP

from longcall.core.task import State, Task
from longcall.core.text import parse_time, time_text
from longcall.engine.ports import Runner
from longcall.stores.rows import DUE_STATES, labels_of, row_of, task_of

Snapshot = DocumentSnapshot[Any]

# The service's own limit: https://cloud.google.com/firestore/quotas (Collections, documents, and fields).
MAX_NAME_BYTES = 1500
_NEVER_CHANGE = frozenset({"kind", "host", "labels", "createTime"})


def new_fields(task: Task, retention: timedelta) -> dict[str, object]:
    """The fields of a document that is not there yet."""
    return {name: value for name, value in _fields(task, retention).items() if value is not None}


def next_fields(task: Task, retention: timedelta) -> dict[str, object]:
    """What a document's next version changes; a field without a value goes, so that no index carries it."""
    fields = _fields(task, retention).items()
    return {name: DELETE_FIELD if value is None else value for name, value in fields if name not in _NEVER_CHANGE}


def _fields(task: Task, retention: timedelta) -> dict[str, object]:
    """Times are text as in the record, exact and in order; only `expireAt` is a timestamp, as the TTL policy wants it."""
    row = row_of(task)
    running = task.state is State.RUNNING
    return {
        "kind": row.kind,
        "host": row.host,
        "labels": [label_text(*label) for label in labels_of(task).items()] or None,
        "createTime": row.create_time,
        "state": row.state,
        "reason": row.reason,
        "owner": row.owner if running else None,
        "cancelOwner": row.cancel_owner if running else None,
        "updateTime": row.update_time,
        "nextAttemptTime": row.next_attempt_time if task.state in DUE_STATES else None,
        "expireAt": task.finish_time + retention if task.state.ended and task.finish_time else None,
        "doc": row.doc.encode(),
    }


def label_text(name: str, value: str) -> str:
    """A label as one text, which no other label shares."""
    return f"{name.replace('%', '%25').replace('=', '%3D')}={value}"


def name_of(key: str) -> str:
    """A document's name for an id: in the same order, and never one that Firestore keeps for itself (`.`, `..`, `__x__`, a slash)."""
    escaped = key.replace(".", ".-").replace("/", ".0")
    return f"_-{escaped[1:]}" if escaped.startswith("_") else escaped or "_"


def key_of(name: str) -> str:
    """The id that a document's name stands for."""
    escaped = f"_{name[2:]}" if name.startswith("_-") else name.removeprefix("_")
    return escaped.replace(".0", "/").replace(".-", ".")


def read_task(found: Snapshot) -> Task:
    """The record in a document. Raises NewerSchemaError."""
    return task_of(found.get("doc").decode())


def runner_fields(runner: Runner, expire_at: datetime) -> dict[str, object]:
    """A runner's document, dated by the server."""
    return {
        "startTime": time_text(runner.start_time),
        "beatTime": SERVER_TIMESTAMP,
        "calls": runner.calls,
        "drained": runner.drained,
        "gone": runner.gone,
        "expireAt": expire_at,
    }


def read_runner(found: Snapshot) -> Runner:
    """The runner in a document; its age is the time of the read less that of its last beat, both the server's."""
    beat = found.get("beatTime")
    beat_time = datetime.combine(beat.date(), beat.timetz())  # without the client's nanoseconds
    return Runner(
        key_of(found.id),
        parse_time(found.get("startTime")),
        beat_time,
        age=max(found.read_time - beat_time, timedelta()),  # the two are not promised to be one clock
        calls=found.get("calls"),
        drained=found.get("drained"),
        gone=found.get("gone"),
    )
