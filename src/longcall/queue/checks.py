"""What a task and a queue must keep to. https://cloud.google.com/tasks/docs/quotas and the API's reference."""

import re
from datetime import datetime, timedelta

from longcall.queue.errors import invalid
from longcall.queue.model import AppEngineTarget, Draft, HttpTarget, Method, QueueConfig, RetryConfig, Target

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


def check_draft(draft: Draft, now: datetime) -> None:
    """Refuse a task that Cloud Tasks would refuse."""
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
        _check_retry(draft.retry.over(RetryConfig()))
    if draft.schedule_time is not None and draft.schedule_time - now > _MAX_AHEAD:
        raise invalid("Task.scheduleTime is too far in the future. Schedule time must be no more than 720h in the future.")


def check_queue_config(config: QueueConfig) -> None:
    """Refuse limits that Cloud Tasks would refuse."""
    rates, retry = config.rates, config.retry
    if not 0 < rates.max_dispatches_per_second <= _MAX_RATE:
        raise invalid(f"RateLimits.maxDispatchesPerSecond must be greater than 0 and at most {_MAX_RATE}.")
    if not 0 < rates.max_concurrent_dispatches <= _MAX_CONCURRENT:
        raise invalid(f"RateLimits.maxConcurrentDispatches must be between 1 and {_MAX_CONCURRENT}.")
    if retry.min_backoff > retry.max_backoff:
        raise invalid("RetryConfig.minBackoff must be at most RetryConfig.maxBackoff.")
    _check_retry(retry)


def _check_retry(retry: RetryConfig) -> None:
    if retry.max_attempts < -1 or retry.max_attempts == 0:
        raise invalid("RetryConfig.maxAttempts must be at least 1, or -1 for unlimited attempts.")
    if retry.min_backoff <= timedelta(0) or not timedelta(0) < retry.max_backoff <= _MAX_BACKOFF:
        raise invalid("RetryConfig.minBackoff and RetryConfig.maxBackoff must be greater than 0 and at most a year.")
    if retry.max_doublings < 0 or retry.max_retry_duration < timedelta(0):
        raise invalid("RetryConfig.maxDoublings and RetryConfig.maxRetryDuration must not be negative.")


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
        raise invalid(f"Task size too large: at most {MAX_TASK_BYTES} bytes are allowed.")
