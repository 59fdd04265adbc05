"""What the SDK asks of the API: requests, and what came of them, as values. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypedDict
from urllib.parse import quote, urlencode

from longcall.core.text import duration_text
from longcall.core.wire import dumps
from longcall.sdk.options import Duration, Moment, TaskOptions, encoded, moment_text, span, task_json

MAX_PAGE = 500
PATIENCE = 30.0  # seconds without a byte until an ordinary answer is given up
STREAM_PATIENCE = 45.0  # the same for a stream of events, which has a sign of life every 15 seconds
FIRST_EVENT = 60  # seconds that a task may take to be seen first: one put by hand gets its record at its first dispatch
REQUEUE_PATIENCE = 600.0  # the same for a requeue, which goes through every task before it answers
DEFAULT_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the API. `after`: seconds to wait before it is sent; `patience`: seconds without a byte until it is given up.

    `as_it_is`: the answer is a target's body, wanted byte for byte, wherever it lies. `creates`: the task may exist afterwards.
    """

    method: str
    path: str
    body: bytes | None = None
    patience: float = PATIENCE
    after: float = 0.0
    task_id: str = ""
    as_it_is: bool = False
    creates: bool = False
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `at` is the monotonic clock when it had come; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Broken:
    """No answer, or not all of one. `sent` is False only where it is known that nothing was sent."""

    why: str
    sent: bool
    at: float = 0.0


class Filters(TypedDict, total=False):
    """Which tasks to list; all must hold. `state` is one or several; `label` is "name:value"; `host` is the target's.

    Times are datetime or RFC 3339 text. `page_size` (1 to 500) is how many are fetched at once.
    """

    state: str | Iterable[str]
    label: str | None
    reason: str | None
    host: str | None
    created_after: Moment | None
    created_before: Moment | None
    updated_after: Moment | None
    overdue: bool
    kind: str | None
    page_size: int


class Watched(TypedDict, total=False):
    """Whose changes to watch; all must hold. `state` is one or several; `label` is "name:value"."""

    state: str | Iterable[str]
    label: str | None


_STREAM = (("Accept", "text/event-stream"), ("Accept-Encoding", "identity"))


def create_request(task_id: str, url: str, schedule_time: Moment | None, options: TaskOptions) -> Request:
    """`POST /v1/tasks`. Raises InvalidArgumentError, and TypeError for an option that does not exist."""
    task = {"id": task_id, **task_json(url, **options)}
    if schedule_time is not None:
        task["scheduleTime"] = moment_text("/scheduleTime", schedule_time)
    return Request("POST", "/v1/tasks", encoded(task), task_id=task_id, creates=True)


def read_request(task_id: str) -> Request:
    """`GET /v1/tasks/{id}`."""
    return Request("GET", _path(task_id), task_id=task_id)


def poll_request(task_id: str, seconds: float, slack: float = 5.0) -> Request:
    """`GET /v1/tasks/{id}?wait=`: the answer comes within so many seconds, or, by `slack` later, not at all."""
    wait = duration_text(timedelta(milliseconds=round(seconds * 1000)))
    return Request("GET", f"{_path(task_id)}?{urlencode({'wait': wait})}", patience=seconds + slack, task_id=task_id)


def events_request(task_id: str) -> Request:
    """`GET /v1/tasks/{id}/events`, also for an id not seen yet."""
    path = f"{_path(task_id)}/events?wait={FIRST_EVENT}s"
    return Request("GET", path, patience=FIRST_EVENT + 5.0, task_id=task_id, headers=_STREAM)


def changes_request(filters: Watched) -> Request:
    """`GET /v1/events`. Raises TypeError for a filter that does not exist."""
    if unknown := filters.keys() - Watched.__annotations__.keys():
        raise TypeError(f"changes() has no filter {', '.join(sorted(unknown))}: known are {', '.join(Watched.__annotations__)}")
    query = [pair for name, value in filters.items() if value for pair in _query(name, value)]
    return Request("GET", f"/v1/events?{urlencode(query)}" if query else "/v1/events", patience=STREAM_PATIENCE, headers=_STREAM)


def body_request(task_id: str) -> Request:
    """`GET /v1/tasks/{id}/response`."""
    return Request("GET", f"{_path(task_id)}/response", task_id=task_id, as_it_is=True)


def cancel_request(task_id: str) -> Request:
    """`POST /v1/tasks/{id}:cancel`."""
    return Request("POST", f"{_path(task_id)}:cancel", task_id=task_id)


def retry_request(task_id: str) -> Request:
    """`POST /v1/tasks/{id}:retry`."""
    return Request("POST", f"{_path(task_id)}:retry", task_id=task_id)


def forget_request(task_id: str) -> Request:
    """`DELETE /v1/tasks/{id}`."""
    return Request("DELETE", _path(task_id), task_id=task_id)


def requeue_request(*, dry_run: bool) -> Request:
    """`POST /v1/tasks:requeue`."""
    return Request("POST", "/v1/tasks:requeue", dumps({"dryRun": dry_run}), patience=REQUEUE_PATIENCE)


def duration_seconds(pointer: str, value: Duration | None) -> float | None:
    """A wait's seconds; None, which is no limit, stays None. Raises InvalidArgumentError."""
    return None if value is None else span(pointer, value).total_seconds()


def page_request(filters: Filters, token: str) -> Request:
    """`GET /v1/tasks`. Raises InvalidArgumentError, and TypeError for a filter that does not exist."""
    if unknown := filters.keys() - Filters.__annotations__.keys():
        raise TypeError(f"list() has no filter {', '.join(sorted(unknown))}: known are {', '.join(Filters.__annotations__)}")
    query = [pair for name, value in filters.items() if value for pair in _query(name, value)]
    query += [("pageToken", token)] if token else []
    return Request("GET", f"/v1/tasks?{urlencode(query)}" if query else "/v1/tasks")


def _path(task_id: str) -> str:
    return f"/v1/tasks/{quote(task_id, safe='')}"


def _query(name: str, value: object) -> list[tuple[str, str]]:
    match name, value:
        case "state", str():
            return [("state", value)]
        case "state", _ if isinstance(value, Iterable):
            return [("state", str(each)) for each in value]
        case "overdue", _:
            return [("overdue", "true")]
        case (("created_after" | "created_before" | "updated_after"), _):
            return [(_camel(name), moment_text(f"/{_camel(name)}", value) or "")]  # type: ignore[arg-type] # a Moment, as Filters says
        case _:
            return [(_camel(name), str(value))]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
