"""Between the model's values and what SQLite keeps: integers of microseconds, JSON, bytes."""

import json
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from longcall.queue.model import (
    AppEngineTarget,
    Attempt,
    HttpTarget,
    Method,
    OAuthToken,
    OidcToken,
    Queue,
    QueueConfig,
    QueuedTask,
    RateLimits,
    RetryConfig,
    RetryOverride,
    Routing,
    Target,
)

Row = tuple[Any, ...]
"""A row as sqlite3 gives it: the schema says what each column holds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_Retry = TypeVar("_Retry", RetryConfig, RetryOverride)


def micros(time: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return span_micros(time - _EPOCH)


def time(value: int) -> datetime:
    """Return microseconds since 1970 as a time."""
    return _EPOCH + timedelta(microseconds=value)


def span_micros(span: timedelta) -> int:
    """Return a duration in microseconds."""
    return span // _MICROSECOND


def target_text(target: Target) -> str:
    """Return a target without its body as JSON."""
    return json.dumps(_target_values(target))


def retry_text(retry: RetryConfig | RetryOverride) -> str:
    """Return a retry configuration as JSON."""
    return json.dumps(_retry_values(retry))


def config_text(config: QueueConfig) -> str:
    """Return a queue's configuration without its name as JSON."""
    routing = config.routing_override
    return json.dumps(
        {
            "retry": _retry_values(config.retry),
            "rates": asdict(config.rates),
            "routing_override": None if routing is None else asdict(routing),
            "log_sampling": config.log_sampling,
        }
    )


def queue(row: Row) -> Queue:
    """Read the columns number, name, config, paused, purge_time, purged."""
    number, name, text, paused, purge_time, purged = row
    values = json.loads(text)
    routing = values["routing_override"]
    config = QueueConfig(
        name,
        _retry(RetryConfig, values["retry"]),
        RateLimits(**values["rates"]),
        None if routing is None else Routing(**routing),
        values.get("log_sampling"),  # a file of an earlier release has none
    )
    return Queue(number, config, bool(paused), None if purge_time is None else time(purge_time), purged)


def task(row: Row, queue_name: str) -> QueuedTask:
    """Read a whole row of the table task, its columns in the schema's order."""
    number, _, id_, target, body, schedule, created, deadline, retry = row[:9]
    _, dispatches, responses, executions, previous, first = row[9:15]
    return QueuedTask(
        number=number,
        queue=queue_name,
        id=id_,
        target=_target(target, body),
        schedule_time=time(schedule),
        create_time=time(created),
        dispatch_deadline=None if deadline is None else timedelta(microseconds=deadline),
        retry=None if retry is None else _retry(RetryOverride, json.loads(retry)),
        dispatch_count=dispatches,
        response_count=responses,
        execution_count=executions,
        previous_response=previous,
        first_dispatch=None if first is None else time(first),
        last_attempt=_attempt(row[15:20]),
    )


def _attempt(row: Row) -> Attempt | None:
    schedule, dispatched, answered, code, message = row
    if dispatched is None:
        return None
    return Attempt(time(schedule), time(dispatched), None if answered is None else time(answered), code, message)


def _target(text: str, body: bytes) -> Target:
    ((kind, values),) = json.loads(text).items()
    method, headers = Method(values["method"]), values["headers"]
    if kind == "app_engine":
        return AppEngineTarget(values["uri"], method, headers, body, Routing(*values["routing"]))
    return HttpTarget(values["url"], method, headers, body, _token(values["token"]))


def _target_values(target: Target) -> dict[str, object]:
    match target:
        case HttpTarget():
            token = _token_values(target.token)
            return {"http": {"url": target.url, "method": target.method, "headers": target.headers, "token": token}}
        case AppEngineTarget():
            routing = target.routing
            names = [routing.service, routing.version, routing.instance, routing.host]
            values = {"uri": target.relative_uri, "method": target.method, "headers": target.headers, "routing": names}
            return {"app_engine": values}


def _token(values: list[str] | None) -> OidcToken | OAuthToken | None:
    match values:
        case ["oidc", email, audience]:
            return OidcToken(email, audience)
        case ["oauth", email, scope]:
            return OAuthToken(email, scope)
        case _:
            return None


def _token_values(token: OidcToken | OAuthToken | None) -> list[str] | None:
    match token:
        case OidcToken():
            return ["oidc", token.service_account_email, token.audience]
        case OAuthToken():
            return ["oauth", token.service_account_email, token.scope]
        case None:
            return None


def _retry_values(retry: RetryConfig | RetryOverride) -> dict[str, object]:
    values = {field.name: getattr(retry, field.name) for field in fields(retry)}
    return {name: span_micros(value) if isinstance(value, timedelta) else value for name, value in values.items()}


def _retry(kind: type[_Retry], values: dict[str, int | None]) -> _Retry:
    spans = {"max_retry_duration", "min_backoff", "max_backoff"}
    read: dict[str, Any] = {
        name: timedelta(microseconds=value) if name in spans and value is not None else value for name, value in values.items()
    }
    return kind(**read)
