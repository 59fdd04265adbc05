"""What the official protobuf messages say, as the model's values."""

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from longcall.queue.errors import invalid, unimplemented
from longcall.queue.messages import METHOD_NUMBERS, Message
from longcall.queue.model import (
    AppEngineTarget,
    Draft,
    HttpTarget,
    Method,
    OAuthToken,
    OidcToken,
    QueueConfig,
    RateLimits,
    RetryConfig,
    RetryOverride,
    Routing,
    Target,
)

_METHODS = {number: method for method, number in METHOD_NUMBERS.items()} | {0: Method.POST}


def draft(message: Message) -> Draft:
    """Read a task that is to be created. Refuses one without a target."""
    return Draft(
        target=_target(message),
        name=message.name,
        schedule_time=_time(message.schedule_time) if message.HasField("schedule_time") else None,
        dispatch_deadline=_span(message.dispatch_deadline) if message.HasField("dispatch_deadline") else None,
        retry=_override(message.retry_config) if message.HasField("retry_config") else None,
    )


def config(message: Message) -> QueueConfig:
    """Read a queue; what is not set gets Cloud Tasks' default."""
    if message.HasField("http_target"):
        raise unimplemented("Queue.httpTarget")
    defaults, limits = RateLimits(), message.rate_limits
    routing, logging = message.app_engine_routing_override, message.stackdriver_logging_config
    return QueueConfig(
        name=message.name,
        retry=_override(message.retry_config).over(RetryConfig()),
        rates=RateLimits(
            limits.max_dispatches_per_second or defaults.max_dispatches_per_second,
            defaults.max_burst_size,  # output only: the service ignores what it is given
            limits.max_concurrent_dispatches or defaults.max_concurrent_dispatches,
        ),
        routing_override=_routing(routing) if message.HasField("app_engine_routing_override") else None,
        log_sampling=logging.sampling_ratio if message.HasField("stackdriver_logging_config") else None,
    )


def _target(message: Message) -> Target:
    match message.WhichOneof("message_type"):
        case "http_request":
            return _http_target(message.http_request)
        case "app_engine_http_request":
            request = message.app_engine_http_request
            return AppEngineTarget(
                relative_uri=request.relative_uri or "/",
                method=_method(request.http_method),
                headers=dict(request.headers),
                body=request.body,
                routing=_routing(request.app_engine_routing),
            )
        case _:
            raise invalid("Task must have an httpRequest or an appEngineHttpRequest.")


def _http_target(request: Message) -> HttpTarget:
    return HttpTarget(
        url=request.url,
        method=_method(request.http_method),
        headers=dict(request.headers),
        body=request.body,
        token=_token(request),
    )


def _method(number: int) -> Method:
    if number not in _METHODS:
        raise invalid(f"{number} is no HTTP method.")
    return _METHODS[number]


def _token(request: Message) -> OidcToken | OAuthToken | None:
    match request.WhichOneof("authorization_header"):
        case "oidc_token":
            return OidcToken(request.oidc_token.service_account_email, request.oidc_token.audience)
        case "oauth_token":
            return OAuthToken(request.oauth_token.service_account_email, request.oauth_token.scope)
        case _:
            return None


def _routing(message: Message) -> Routing:
    return Routing(message.service, message.version, message.instance, message.host)


def _override(message: Message) -> RetryOverride:
    return RetryOverride(
        max_attempts=message.max_attempts or None,
        max_retry_duration=_span(message.max_retry_duration) if message.HasField("max_retry_duration") else None,
        min_backoff=_span(message.min_backoff) if message.HasField("min_backoff") else None,
        max_backoff=_span(message.max_backoff) if message.HasField("max_backoff") else None,
        max_doublings=message.max_doublings or None,
    )


def _time(message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise invalid(f"A time is out of range: {error}") from error


def _span(message: Duration) -> timedelta:
    try:
        return message.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise invalid(f"A duration is out of range: {error}") from error
