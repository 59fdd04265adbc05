"""A task as asked for, as JSON, for `submit` and `cloud_task`. Only what was given is written; the server knows the rest."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, Required, TypedDict, TypeVar

from longcall.core.errors import FieldError, InvalidArgumentError
from longcall.core.retry import RetryPolicy
from longcall.core.task import CALLBACK_RETRIES, Callback, OAuthToken, OidcToken
from longcall.core.text import bytes_text, duration_text, human_duration, parse_time, time_text
from longcall.core.wire import Json, dumps

Duration = timedelta | str
Moment = datetime | str
Auth = OidcToken | OAuthToken | Literal["none"]
Given = TypeVar("Given")


class TaskOptions(TypedDict, total=False):
    """What can be asked of a call. Durations are timedelta or text: "45m", "1h30m", "2700s". What is not given is the server's default.

    `json` or `body` (bytes, or text sent as UTF-8) is what the target gets. `auth` is the token that the target gets: `OidcToken`,
    `OAuthToken`, or "none" for no token where one would be added by itself. `callback` is who is told of the end: a URL, or a `Callback`.
    """

    json: Any
    body: bytes | str | None
    method: str
    headers: Mapping[str, str] | None
    auth: Auth | None
    attempt_timeout: Duration | None
    connect_timeout: Duration | None
    idle_timeout: Duration | None
    task_timeout: Duration | None
    retry: RetryPolicy | None
    callback: Callback | str | None
    labels: Mapping[str, str] | None


class NewTask(TaskOptions, total=False):
    """One of many tasks, for `submit_many`: the arguments of `submit` by their names."""

    url: Required[str]
    id: str | None
    schedule_time: Moment | None


def task_json(  # noqa: PLR0913 — every option of a task by its name; an unknown one is a TypeError
    url: str,
    *,
    json: Any = None,  # noqa: ANN401 — any JSON
    body: bytes | str | None = None,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    auth: Auth | None = None,
    attempt_timeout: Duration | None = None,
    connect_timeout: Duration | None = None,
    idle_timeout: Duration | None = None,
    task_timeout: Duration | None = None,
    retry: RetryPolicy | None = None,
    callback: Callback | str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Json:
    """Section 4's JSON, without `id` and `scheduleTime`. Raises InvalidArgumentError for what can't be written down."""
    request = {"url": url, "httpMethod": method, "headers": dict(headers) if headers else None, **_content(json, body), **_auth(auth)}
    return _given(
        {
            "httpRequest": _given(request),
            "attemptTimeout": _span("/attemptTimeout", attempt_timeout),
            "connectTimeout": _span("/connectTimeout", connect_timeout),
            "idleTimeout": _span("/idleTimeout", idle_timeout),
            "taskTimeout": _span("/taskTimeout", task_timeout),
            "retry": _retry(retry) if retry else None,
            "callback": None if callback is None else _callback(callback),
            "labels": dict(labels) if labels else None,
        }
    )


def span(pointer: str, value: Duration) -> timedelta:
    """Read a duration. Raises InvalidArgumentError that points at the field."""
    return value if isinstance(value, timedelta) else _read(pointer, human_duration, value)


def moment(pointer: str, value: Moment) -> datetime:
    """Read a time: RFC 3339 text, or a datetime that knows its offset. Raises InvalidArgumentError that points at the field."""
    if not isinstance(value, datetime):
        return _read(pointer, parse_time, value)
    if value.tzinfo is None:
        raise InvalidArgumentError(FieldError(pointer, "a datetime must know its offset, like datetime.now(UTC)"))
    return value


def moment_text(pointer: str, value: Moment | None) -> str | None:
    """The same as JSON has it; None stays None."""
    return None if value is None else time_text(moment(pointer, value))


def encoded(data: Json) -> bytes:
    """JSON as it is sent. Raises InvalidArgumentError for what JSON can't hold."""
    try:
        return dumps(data)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(FieldError("/httpRequest/json", f"this can't be written as JSON: {error}")) from None


def _read(pointer: str, read: Callable[[str], Given], text: str) -> Given:
    if not isinstance(text, str):
        raise InvalidArgumentError(FieldError(pointer, f"text is expected, not {type(text).__name__}"))
    try:
        return read(text)
    except (ValueError, OverflowError) as error:
        raise InvalidArgumentError(FieldError(pointer, str(error))) from None


def _span(pointer: str, value: Duration | None) -> str | None:
    return None if value is None else duration_text(span(pointer, value))


def _content(json: object, body: bytes | str | None) -> Json:
    if json is not None and body is not None:
        raise InvalidArgumentError(FieldError("/httpRequest", "either body or json can be given, not both"))
    if json is not None:
        return {"json": json}
    return {"body": bytes_text(body.encode() if isinstance(body, str) else body)} if body else {}


def _auth(auth: Auth | None) -> Json:
    match auth:
        case OidcToken(email, audience):
            return {"oidcToken": _given({"serviceAccountEmail": email, "audience": audience})}
        case OAuthToken(email, scope):
            return {"oauthToken": {"serviceAccountEmail": email, "scope": scope}}
        case "none":
            return {"auth": "none"}
        case None:
            return {}


def _retry(policy: RetryPolicy) -> Json:
    return {
        "maxAttempts": policy.max_attempts,
        "minBackoff": duration_text(policy.min_backoff),
        "maxBackoff": duration_text(policy.max_backoff),
        "multiplier": policy.multiplier,
        "jitter": str(policy.jitter),
        "retryOn": list(policy.retry_on),
    }


def _callback(asked: Callback | str) -> Json:
    """Only what differs from the defaults: the server's own are written in the same place, core/task.py."""
    if isinstance(asked, str):
        return {"url": asked}
    usual = Callback(asked.url)
    return _given(
        {
            "url": asked.url or None,
            "pubsub": None if asked.topic is None else {"topic": asked.topic},
            "on": None if tuple(asked.on) == usual.on else list(asked.on),
            "secret": None if asked.secret == usual.secret else asked.secret,
            "headers": dict(asked.headers) or None,
            "retry": None if asked.retry == CALLBACK_RETRIES else _retry(asked.retry),
            "attemptTimeout": None
            if asked.attempt_timeout == usual.attempt_timeout
            else _span("/callback/attemptTimeout", asked.attempt_timeout),
            **_auth(asked.auth),
        }
    )


def _given(data: Json) -> Json:
    return {name: value for name, value in data.items() if value is not None}
