"""A task as the server shows it, as values. What a newer server adds is kept in `raw` and does no harm."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import httpx2

from longcall.core.attempt import Attempt, Trouble
from longcall.core.task import ENDS, Failure, State
from longcall.core.text import parse_bytes, parse_time
from longcall.core.wire import Json, loads
from longcall.sdk.errors import NoResponseError

Read = TypeVar("Read")


@dataclass(frozen=True)
class Response:
    """The last complete response of the target. `size` (bytes) and `sha256` are of the whole body as it came.

    `truncated`: the body was longer than Longcall keeps. `shown` is the body as the server's view has it, if it is small.
    """

    status: int
    headers: Mapping[str, str]
    size: int
    sha256: str
    truncated: bool
    shown: Json = field(repr=False)
    fetch: Callable[[], bytes] = field(repr=False, compare=False)

    @cached_property
    def content(self) -> bytes:
        """The body as it came, byte for byte; fetched from the server when the view does not have it."""
        match self.shown:
            case {"text": str(text)}:
                return text.encode()
            case {"body": str(body)}:
                return parse_bytes(body)
            case _:
                return self.fetch() if self.size else b""

    @property
    def text(self) -> str:
        """The body as text, by the charset its Content-Type names, else UTF-8; what does not fit is replaced."""
        charset = httpx2.Response(self.status, headers=dict(self.headers)).charset_encoding
        try:
            return self.content.decode(charset or "utf-8", errors="replace")
        except LookupError:
            return self.content.decode(errors="replace")

    def json(self) -> Any:  # noqa: ANN401 — any JSON
        """The body as JSON. Raises ValueError when it is none."""
        return self.shown["json"] if "json" in self.shown else loads(self.content)


@dataclass(frozen=True)
class Told:
    """What became of one callback: which end it tells of (`event`: "failed"), and the id and the state of its own task."""

    event: str
    task_id: str
    state: str


@dataclass(frozen=True)
class Requeued:
    """What was queued again, or would be: ids of tasks that wait, that run without a live runner, and whose end was not told."""

    waiting: tuple[str, ...]
    running: tuple[str, ...]
    untold: tuple[str, ...]


@dataclass(frozen=True)
class TaskView:
    """One task as it was when it was read. `state` is a `State`, or text that a newer server knows; `raw` is the whole JSON.

    `attempts` is the history, `callbacks` is what became of each; `list` has neither. `warnings` come only with the answer to `submit`.
    """

    id: str
    state: str
    url: str
    method: str
    labels: Mapping[str, str]
    version: int
    create_time: datetime
    update_time: datetime
    finish_time: datetime | None
    next_attempt_time: datetime | None
    attempt_count: int
    attempts: tuple[Attempt, ...]
    failure: Failure | None
    callbacks: tuple[Told, ...]
    warnings: tuple[str, ...]
    raw: Json = field(repr=False, compare=False)
    received: Response | None = field(default=None, kw_only=True)

    @property
    def ended(self) -> bool:
        """Nothing more happens by itself."""
        return self.state in ENDS

    @property
    def has_response(self) -> bool:
        """Tell whether the target has given a complete response."""
        return self.received is not None

    @property
    def response(self) -> Response:
        """The target's last complete response. Raises NoResponseError when there is none; what SUCCEEDED has one."""
        if self.received is None:
            raise NoResponseError(self)
        return self.received


def view_fields(data: Json) -> Json:
    """The values of a TaskView's fields by name. Raises KeyError, TypeError or ValueError when this is no task."""
    request = data.get("httpRequest") or {}
    return {
        "id": data["id"],
        "state": _state(data["state"]),
        "url": request.get("url", ""),
        "method": request.get("httpMethod", ""),
        "labels": data.get("labels") or {},
        "version": data["version"],
        "create_time": parse_time(data["createTime"]),
        "update_time": parse_time(data["updateTime"]),
        "finish_time": _maybe(parse_time, data.get("finishTime")),
        "next_attempt_time": _maybe(parse_time, data.get("nextAttemptTime")),
        "attempt_count": data["attemptCount"],
        "attempts": tuple(_attempt(each) for each in data.get("attempts") or ()),
        "failure": _maybe(_failure, data.get("failure")),
        "callbacks": tuple(_told(each) for each in data.get("callbacks") or ()),
        "warnings": tuple(data.get("warnings") or ()),
        "raw": data,
    }


def response_fields(data: Json) -> Json:
    """The values of a Response's fields by name, but `fetch`. Raises as `view_fields` does."""
    return {
        "status": data["status"],
        "headers": httpx2.Headers(data.get("headers") or {}),
        "size": data["size"],
        "sha256": data["sha256"],
        "truncated": bool(data.get("truncated")),
        "shown": {name: data[name] for name in ("json", "text", "body") if name in data},
    }


def requeued(data: Json) -> Requeued:
    """Read the answer to a requeue. Raises as `view_fields` does."""
    return Requeued(*(tuple(str(each) for each in data[name]) for name in ("waiting", "running", "untold")))


def _maybe(read: Callable[[Any], Read], value: Any) -> Read | None:  # noqa: ANN401 — any JSON
    return None if value is None else read(value)


def _state(text: str) -> str:
    return State(text) if text in State.__members__ else text


def _failure(data: Json) -> Failure:
    return Failure(data["reason"], data["message"], data["mayHaveRun"])


def _told(data: Json) -> Told:
    return Told(data["event"] or "", data["taskId"], _state(data["state"]))


def _trouble(data: Json) -> Trouble:
    return Trouble(data["code"], data["message"], data.get("hint"))


def _attempt(data: Json) -> Attempt:
    return Attempt(
        number=data["number"],
        runner=data["runner"],
        start_time=parse_time(data["startTime"]),
        sent_time=_maybe(parse_time, data.get("sentTime")),
        end_time=_maybe(parse_time, data.get("endTime")),
        outcome=data.get("outcome"),
        status=data.get("status"),
        may_have_run=data.get("mayHaveRun"),
        trouble=_maybe(_trouble, data.get("error")),
        retry_time=_maybe(parse_time, data.get("retryTime")),
    )
