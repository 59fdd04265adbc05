"""What a task and a queue must keep to. https://cloud.google.com/tasks/docs/quotas and the API's reference.

The texts are those of the real service where a recording of it is known.
"""

import re
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from longcall.queue.errors import invalid
from longcall.queue.model import AppEngineTarget, Draft, HttpTarget, Method, RateLimits, RetryConfig, Target

MAX_TASK_BYTES = 102_400
"""100 KB: the smaller of the two limits Google names."""

_MAX_URL = 2083
_MAX_AHEAD = timedelta(days=30)
_SHORTEST_DEADLINE = timedelta(seconds=15)
_LONGEST_HTTP = timedelta(minutes=30)
_LONGEST_APP_ENGINE = timedelta(hours=24, seconds=15)
_MAX_BACKOFF = timedelta(days=365)
_MAX_RATE = 500
_MAX_CONCURRENT = 5000
_HTTP_WITH_BODY = frozenset({Method.POST, Method.PUT, Method.PATCH})
_APP_ENGINE_WITH_BODY = frozenset({Method.POST, Method.PUT})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_HEADER_VALUE = re.compile(r"[\r\n\0]")
_NO_URL = re.compile(r"[\x00-\x20\x7f]")


def check_draft(draft: Draft, queues: RetryConfig, now: datetime) -> None:
    """Refuse a task that Cloud Tasks would refuse; ``queues`` is the retry configuration of its queue."""
    target = draft.target
    match target:
        case HttpTarget():
            _check_url(target.url)
            _check_deadline(draft.dispatch_deadline, _LONGEST_HTTP, "30m")
            _check_body(target, _HTTP_WITH_BODY, "HttpRequest")
        case AppEngineTarget():
            _check_relative_uri(target.relative_uri)
            # Zero asks for what the service's scaling allows.
            _check_deadline(draft.dispatch_deadline or None, _LONGEST_APP_ENGINE, "24h15s")
            _check_body(target, _APP_ENGINE_WITH_BODY, "AppEngineHttpRequest")
    _check_headers(target)
    _check_size(draft)
    if draft.retry is not None:
        check_retry(draft.retry.over(queues))
    if draft.schedule_time is not None and draft.schedule_time - now > _MAX_AHEAD:
        shown = draft.schedule_time.astimezone(_pacific()).isoformat(timespec="seconds")
        raise invalid(f"The Task.scheduleTime, {shown}, is too far in the future. Schedule time must be no more than 720h in the future.")


def check_rates(rates: RateLimits) -> None:
    """Refuse limits that Cloud Tasks would refuse."""
    _check_limit("RateLimits.maxDispatchesPerSecond", rates.max_dispatches_per_second, _MAX_RATE)
    _check_limit("RateLimits.maxConcurrentDispatches", rates.max_concurrent_dispatches, _MAX_CONCURRENT)


def check_retry(retry: RetryConfig) -> None:
    """Refuse a retry configuration that Cloud Tasks would refuse, or that reaches further than times go."""
    if retry.max_attempts < -1:
        raise invalid("RetryConfig.maxAttempts must be greater or equal to -1.")
    spans = {"minBackoff": retry.min_backoff, "maxBackoff": retry.max_backoff, "maxRetryDuration": retry.max_retry_duration}
    for name, span in spans.items():
        if span < timedelta(0):
            raise invalid(f"RetryConfig.{name} cannot be negative.")
    if retry.max_doublings < 0:
        raise invalid("RetryConfig.maxDoublings cannot be negative.")
    if retry.min_backoff > retry.max_backoff:
        raise invalid("RetryConfig.minBackoff must be less than or equal to RetryConfig.maxBackoff.")
    if retry.max_backoff > _MAX_BACKOFF:
        raise invalid("RetryConfig.maxBackoff must be at most a year.")


def _check_limit(name: str, value: float, most: int) -> None:
    if not value <= most:  # a limit that is no number is too large, too
        raise invalid(f"{name} must be less than or equal to {most}.")
    if value <= 0:
        raise invalid(f"{name} cannot be negative.")


def _pacific() -> tzinfo:
    # Google shows the time that it refuses in California's.
    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:  # a machine without the zones' tables
        return timezone(timedelta(hours=-8))


def _check_url(url: str) -> None:
    if not url:
        raise invalid("HttpRequest.url is required.")
    if not url.startswith(("http://", "https://")):
        raise invalid("HttpTarget.url must start with 'http://' or 'https://'.")
    if len(url) > _MAX_URL or _NO_URL.search(url):
        raise invalid(f"HttpRequest.url must be a URL without white space of at most {_MAX_URL} characters.")


def _check_relative_uri(uri: str) -> None:
    # A path that does not begin with / would be read as a part of the host before it.
    if not uri.startswith("/") or len(uri) > _MAX_URL or _NO_URL.search(uri):
        raise invalid(
            'AppEngineHttpRequest.relativeUri must begin with "/" and be a path and query without white space '
            f"of at most {_MAX_URL} characters."
        )


def _check_deadline(deadline: timedelta | None, longest: timedelta, text: str) -> None:
    if deadline is not None and not _SHORTEST_DEADLINE <= deadline <= longest:
        raise invalid(f"Task.dispatchDeadline must be between [15s, {text}].")


def _check_body(target: Target, methods: frozenset[Method], kind: str) -> None:
    if target.body and target.method not in methods:
        raise invalid(f"{kind}.body is only allowed with {', '.join(sorted(methods))}.")


def _check_headers(target: Target) -> None:
    for name, value in target.headers.items():
        if not _HEADER_NAME.fullmatch(name) or _NO_HEADER_VALUE.search(value):
            raise invalid(f"The header {name!r} is no header of HTTP, or its value has a line break.")


def _check_size(draft: Draft) -> None:
    target = draft.target
    where = target.url if isinstance(target, HttpTarget) else target.relative_uri
    texts = (draft.name, where, *target.headers.keys(), *target.headers.values())
    if len(target.body) + sum(len(text.encode()) for text in texts) > MAX_TASK_BYTES:
        raise invalid("Task size too large")
