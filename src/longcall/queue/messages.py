"""The model's values as the official protobuf messages.

The messages are the raw ones: the wrappers of the client library cost more than the rest of a request.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from google.cloud import tasks_v2
from google.protobuf import any_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from longcall.queue.errors import Help
from longcall.queue.model import (
    AppEngineTarget,
    Attempt,
    HttpTarget,
    Method,
    OAuthToken,
    OidcToken,
    Queue,
    QueuedTask,
    RetryConfig,
    RetryOverride,
    Routing,
    Target,
)

Message: TypeAlias = Any
"""A raw message; the client library gives these classes no types."""

TASK: Message = tasks_v2.Task.pb()
QUEUE: Message = tasks_v2.Queue.pb()

# google.cloud.tasks.v2.HttpMethod counts them in the order in which Method has them.
METHOD_NUMBERS = {method: number for number, method in enumerate(Method, start=1)}

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_FULL, _BASIC = int(tasks_v2.Task.View.FULL), int(tasks_v2.Task.View.BASIC)
_RUNNING, _PAUSED = int(tasks_v2.Queue.State.RUNNING), int(tasks_v2.Queue.State.PAUSED)


def task_message(task: QueuedTask, view: int) -> Message:
    """Return a task for the wire; BASIC, the default view, leaves the body out."""
    full = view == _FULL
    message = TASK(
        name=task.name,
        schedule_time=_timestamp(task.schedule_time),
        create_time=_timestamp(task.create_time.replace(microsecond=0)),  # Cloud Tasks shows whole seconds
        dispatch_count=task.dispatch_count,
        response_count=task.response_count,
        view=_FULL if full else _BASIC,
    )
    _set_target(message, task.target, full=full)
    if task.dispatch_deadline is not None or isinstance(task.target, HttpTarget):
        message.dispatch_deadline.FromTimedelta(task.deadline)
    if task.retry is not None:
        _set_retry(message.retry_config, task.retry)
    if task.first_dispatch is not None:
        message.first_attempt.dispatch_time.FromDatetime(task.first_dispatch)
    if task.last_attempt is not None:
        _set_attempt(message.last_attempt, task.last_attempt)
    return message


def queue_message(queue: Queue) -> Message:
    """Return a queue for the wire."""
    rates = queue.config.rates
    message = QUEUE(name=queue.config.name, state=_PAUSED if queue.paused else _RUNNING)
    message.rate_limits.max_dispatches_per_second = rates.max_dispatches_per_second
    message.rate_limits.max_burst_size = rates.max_burst_size
    message.rate_limits.max_concurrent_dispatches = rates.max_concurrent_dispatches
    _set_retry(message.retry_config, queue.config.retry)
    if queue.purge_time is not None:
        message.purge_time.FromDatetime(queue.purge_time)
    if queue.config.routing_override is not None:
        _set_routing(message.app_engine_routing_override, queue.config.routing_override)
    if queue.config.log_sampling is not None:
        message.stackdriver_logging_config.sampling_ratio = queue.config.log_sampling
        message.stackdriver_logging_config.SetInParent()
    return message


def help_message(explained: Help) -> any_pb2.Any:
    """Return where Google explains a refusal as one of its details."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.Help(links=[{"description": explained.description, "url": explained.url}]))
    return detail


def _set_target(message: Message, target: Target, *, full: bool) -> None:
    request = message.http_request if isinstance(target, HttpTarget) else message.app_engine_http_request
    request.http_method = METHOD_NUMBERS[target.method]
    request.headers.update(target.headers)
    match target:
        case HttpTarget():
            request.url = target.url
            _set_token(request, target.token)
        case AppEngineTarget():
            request.relative_uri = target.relative_uri
            _set_routing(request.app_engine_routing, target.routing)
    if full:
        request.body = target.body


def _set_token(request: Message, token: OidcToken | OAuthToken | None) -> None:
    match token:
        case OidcToken():
            request.oidc_token.service_account_email = token.service_account_email
            request.oidc_token.audience = token.audience
        case OAuthToken():
            request.oauth_token.service_account_email = token.service_account_email
            request.oauth_token.scope = token.scope
        case None:
            pass


def _set_routing(message: Message, routing: Routing) -> None:
    message.SetInParent()
    message.service, message.version = routing.service, routing.version
    message.instance, message.host = routing.instance, routing.host


def _set_retry(message: Message, retry: RetryConfig | RetryOverride) -> None:
    message.SetInParent()
    message.max_attempts = retry.max_attempts or 0
    message.max_doublings = retry.max_doublings or 0
    for name in ("max_retry_duration", "min_backoff", "max_backoff"):
        if value := getattr(retry, name):
            getattr(message, name).FromTimedelta(value)


def _set_attempt(message: Message, attempt: Attempt) -> None:
    message.schedule_time.FromDatetime(attempt.schedule_time)
    message.dispatch_time.FromDatetime(attempt.dispatch_time)
    if attempt.response_time is not None:
        message.response_time.FromDatetime(attempt.response_time)
    if attempt.code is not None:
        message.response_status.code = attempt.code
        message.response_status.message = attempt.message


def _timestamp(value: datetime) -> Timestamp:
    # Three times as fast as FromDatetime, and there are two in every answer.
    seconds, micros = divmod((value - _EPOCH) // _MICROSECOND, 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1000)
