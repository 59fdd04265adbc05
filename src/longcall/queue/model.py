"""The queue's values: queues, tasks and attempts, as Cloud Tasks v2 knows them.

https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues and `….tasks`. Times are aware and in UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

HTTP_DEADLINE = timedelta(minutes=10)
"""How long a dispatch to an HTTP target may take when its task does not say."""

APP_ENGINE_DEADLINE = timedelta(hours=24)
"""The same for App Engine: what basic and manual scaling allow."""


class Method(StrEnum):
    """The HTTP methods a task may use."""

    POST = "POST"
    GET = "GET"
    HEAD = "HEAD"
    PUT = "PUT"
    DELETE = "DELETE"
    PATCH = "PATCH"
    OPTIONS = "OPTIONS"


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """When a failed task is dispatched again, and when no more. The defaults are Cloud Tasks' own.

    ``max_attempts`` counts the first, -1 sets no limit; a ``max_retry_duration`` of zero sets none either.
    """

    max_attempts: int = 100
    max_retry_duration: timedelta = timedelta(0)
    min_backoff: timedelta = timedelta(milliseconds=100)
    max_backoff: timedelta = timedelta(hours=1)
    max_doublings: int = 16


@dataclass(frozen=True, slots=True)
class RetryOverride:
    """What a task sets differently from its queue's RetryConfig; None leaves the queue's value."""

    max_attempts: int | None = None
    max_retry_duration: timedelta | None = None
    min_backoff: timedelta | None = None
    max_backoff: timedelta | None = None
    max_doublings: int | None = None

    def over(self, base: RetryConfig) -> RetryConfig:
        """Return ``base`` with the values that are set here."""
        return RetryConfig(
            base.max_attempts if self.max_attempts is None else self.max_attempts,
            base.max_retry_duration if self.max_retry_duration is None else self.max_retry_duration,
            base.min_backoff if self.min_backoff is None else self.min_backoff,
            base.max_backoff if self.max_backoff is None else self.max_backoff,
            base.max_doublings if self.max_doublings is None else self.max_doublings,
        )


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How fast, and how many at once, a queue dispatches. The defaults are Cloud Tasks' own."""

    max_dispatches_per_second: float = 500.0
    max_burst_size: int = 100
    max_concurrent_dispatches: int = 1000


@dataclass(frozen=True, slots=True)
class Routing:
    """Which App Engine service, version and instance is meant. Kept and shown; one local address serves them all."""

    service: str = ""
    version: str = ""
    instance: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """A queue by its full name, ``projects/P/locations/L/queues/Q``, and how it dispatches.

    ``log_sampling``, the share of operations that Google would log, is kept and shown.
    """

    name: str
    retry: RetryConfig = RetryConfig()
    rates: RateLimits = RateLimits()
    routing_override: Routing | None = None
    log_sampling: float | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it stands: its internal number, configuration and state; tasks numbered up to ``purged`` are gone."""

    number: int
    config: QueueConfig
    paused: bool = False
    purge_time: datetime | None = None
    purged: int = 0


@dataclass(frozen=True, slots=True)
class OidcToken:
    """The wish for an OpenID Connect token on a dispatch."""

    service_account_email: str
    audience: str = ""


@dataclass(frozen=True, slots=True)
class OAuthToken:
    """The wish for an OAuth access token on a dispatch."""

    service_account_email: str
    scope: str = ""


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """An HTTP request to any address."""

    url: str
    method: Method = Method.POST
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    token: OidcToken | OAuthToken | None = None


@dataclass(frozen=True, slots=True)
class AppEngineTarget:
    """An HTTP request to the App Engine application, by its path and query."""

    relative_uri: str = "/"
    method: Method = Method.POST
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    routing: Routing = Routing()


Target = HttpTarget | AppEngineTarget


@dataclass(frozen=True, slots=True)
class Draft:
    """A task as its creator sends it; an empty name asks for one to be made."""

    target: Target
    name: str = ""
    schedule_time: datetime | None = None
    dispatch_deadline: timedelta | None = None
    retry: RetryOverride | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One dispatch: when it was due, when it began, and how it ended. ``code`` is None while it is under way."""

    schedule_time: datetime
    dispatch_time: datetime
    response_time: datetime | None = None
    code: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task in a queue. ``number`` is its own in the storage and never given twice.

    ``response_count`` counts every answer, ``execution_count`` those which the dispatch header ExecutionCount counts.
    """

    number: int
    queue: str
    id: str
    target: Target
    schedule_time: datetime
    create_time: datetime
    dispatch_deadline: timedelta | None = None
    retry: RetryOverride | None = None
    dispatch_count: int = 0
    response_count: int = 0
    execution_count: int = 0
    previous_response: int | None = None
    first_dispatch: datetime | None = None
    last_attempt: Attempt | None = None

    @property
    def name(self) -> str:
        """The full name: ``projects/P/locations/L/queues/Q/tasks/T``."""
        return f"{self.queue}/tasks/{self.id}"

    @property
    def deadline(self) -> timedelta:
        """How long one dispatch may take."""
        default = HTTP_DEADLINE if isinstance(self.target, HttpTarget) else APP_ENGINE_DEADLINE
        return self.dispatch_deadline or default
