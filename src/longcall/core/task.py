"""A task: one HTTP call somebody wants made, with its policy and its whole history."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from longcall.core.attempt import Attempt, Response
from longcall.core.retry import Budget, RetryPolicy
from longcall.core.trace import TraceContext

SCHEMA = 1
MAX_ATTEMPT = timedelta(hours=24)
MAX_AHEAD = timedelta(days=28)
MAX_REQUEST_BYTES = 20 * 1024 * 1024
MAX_INLINE_BYTES = 16 * 1024


class State(StrEnum):
    """Where a task stands. The last three are ends."""

    SCHEDULED = "SCHEDULED"
    WAITING = "WAITING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        """Nothing more happens by itself."""
        return self in ENDS


ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


class Kind(StrEnum):
    """A call somebody asked for, or the callback that tells of its end."""

    CALL = "call"
    CALLBACK = "callback"


@dataclass(frozen=True, slots=True)
class OidcToken:
    """An ID token for the target. Without `audience` it is minted for the whole URL, as Cloud Tasks does."""

    service_account_email: str
    audience: str | None = None


@dataclass(frozen=True, slots=True)
class OAuthToken:
    """An access token for Google's own APIs."""

    service_account_email: str
    scope: str = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True, slots=True)
class NoAuth:
    """`"auth": "none"`: no token, not even where one would be added by itself."""


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A request body too large for a message: it lies in the body store under a key made from the task's id and createTime."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """The call, as Cloud Tasks v2 `HttpRequest` has it. `auth` None: a token is added by itself where the target is known to want one."""

    url: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | StoredBody = b""
    auth: OidcToken | OAuthToken | NoAuth | None = None

    def has_header(self, name: str) -> bool:
        """Tell whether the caller gave this header; `name` in lower case."""
        return bool(self.headers) and any(given.lower() == name for given in self.headers)


CALLBACK_RETRIES = RetryPolicy(
    max_attempts=15,
    min_backoff=timedelta(seconds=5),
    max_backoff=timedelta(hours=6),
    multiplier=4.0,
    retry_on=("unreachable", "disconnected", "timed_out", "interrupted", "3xx", "4xx", "5xx"),
)
"""A receiver that is down for a day still gets its callback: the waits add up to one or two days."""


@dataclass(frozen=True, slots=True)
class Callback:
    """Who is told when the task ends, and of which ends.

    Either `url`, whose callbacks are signed with the configured secrets that `secret` names, or `topic`, a Pub/Sub topic's full name.
    """

    url: str = ""
    on: tuple[str, ...] = ("succeeded", "failed", "cancelled")
    secret: str = "default"  # noqa: S105 — a secret's name, not a secret
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: OidcToken | None = None
    retry: RetryPolicy = CALLBACK_RETRIES
    attempt_timeout: timedelta = timedelta(seconds=30)
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What was asked for, with every default filled in. Immutable for the life of a task.

    `sign_with` is only a callback's own: the name of the secret that signs its attempts.
    """

    request: HttpRequest
    schedule_time: datetime | None = None
    attempt_timeout: timedelta = MAX_ATTEMPT
    connect_timeout: timedelta = timedelta(seconds=10)
    idle_timeout: timedelta | None = None
    task_timeout: timedelta | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    callback: Callback | None = None
    sign_with: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What somebody put on the queue that is no valid task: kept, so that nothing vanishes."""

    raw: bytes
    problem: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task FAILED."""

    reason: str
    message: str
    may_have_run: bool


@dataclass(frozen=True, slots=True)
class Task:
    """One record. `version` counts its writes; `owner` is the runner while RUNNING; `extra` keeps the fields of newer releases.

    `origin` is the span that all its attempts and callbacks hang from; its trace is `trace`.
    """

    id: str
    spec: TaskSpec | Unreadable
    state: State
    create_time: datetime
    update_time: datetime
    queue: str
    trace: str
    budget: Budget
    version: int = 1
    kind: Kind = Kind.CALL
    parent: str | None = None
    finish_time: datetime | None = None
    next_attempt_time: datetime | None = None
    cancel_request_time: datetime | None = None
    owner: str | None = None
    attempt_count: int = 0
    attempts: tuple[Attempt, ...] = ()
    failure: Failure | None = None
    response: Response | None = None
    origin: TraceContext | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def deadline(self) -> datetime | None:
        """Where `taskTimeout` ends; None without one."""
        if isinstance(self.spec, Unreadable) or self.spec.task_timeout is None:
            return None
        return self.budget.start + self.spec.task_timeout

    @property
    def attempt(self) -> Attempt | None:
        """The last attempt made, running or ended."""
        return self.attempts[-1] if self.attempts else None
