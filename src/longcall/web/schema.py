"""A task as strangers write it: every field checked, every mistake pointed at."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.alias_generators import to_camel

from longcall.core.callback import EVENTS
from longcall.core.errors import FieldError, InvalidArgumentError
from longcall.core.retry import Jitter, RetryPolicy
from longcall.core.target import STRICT, TargetRules
from longcall.core.task import (
    CALLBACK_RETRIES,
    MAX_AHEAD,
    MAX_ATTEMPT,
    Callback,
    HttpRequest,
    NoAuth,
    OAuthToken,
    OidcToken,
    StoredBody,
    TaskSpec,
)
from longcall.core.text import duration_text
from longcall.core.wire import dumps
from longcall.web import fields
from longcall.web.mistakes import mistakes

BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
_DEFAULT = RetryPolicy()


Model = TypeVar("Model", bound=BaseModel)


class Edge(BaseModel):
    """What every model of the edge is: camelCase, strict, and closed to unknown fields."""

    model_config: ClassVar[ConfigDict] = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class OidcTokenIn(Edge):
    """An ID token, as Cloud Tasks has it."""

    service_account_email: str
    audience: str | None = None


class OAuthTokenIn(Edge):
    """An access token, as Cloud Tasks has it."""

    service_account_email: str
    scope: str = "https://www.googleapis.com/auth/cloud-platform"


class StoredBodyIn(Edge):
    """What is known of the body of one of our own messages that lies in the body store."""

    size: int
    sha256: str


class HttpRequestIn(Edge):
    """Cloud Tasks v2 HttpRequest, with `json` and `auth` added."""

    url: fields.Url
    http_method: Literal["POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"] = "POST"
    headers: fields.Headers = Field(default_factory=dict)
    body: fields.Body | None = None
    json_: Any = Field(default=None, alias="json")
    oidc_token: OidcTokenIn | None = None
    oauth_token: OAuthTokenIn | None = None
    auth: Literal["none"] | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        given = [name for name in ("oidcToken", "oauthToken", "auth") if getattr(self, _snake(name)) is not None]
        if len(given) > 1:
            raise fields.refuse(f"at most one of oidcToken, oauthToken and auth can be given, not {' and '.join(given)}")
        if self.body is not None and "json_" in self.model_fields_set:
            raise fields.refuse("either body or json can be given, not both")
        if (self.body or "json_" in self.model_fields_set) and self.http_method not in BODY_METHODS:
            raise fields.refuse(f"a body goes only with POST, PUT and PATCH, not with {self.http_method}")
        return self

    def to_request(self) -> HttpRequest:
        """The core's value; `json` becomes a body and its Content-Type."""
        headers = dict(self.headers)
        body = self.body or b""
        if "json_" in self.model_fields_set:
            body = fields.sized(dumps(self.json_))
            if not any(name.lower() == "content-type" for name in headers):
                headers["Content-Type"] = "application/json"
        return HttpRequest(self.url, self.http_method, headers, body, self._auth())

    def _auth(self) -> OidcToken | OAuthToken | NoAuth | None:
        if self.oidc_token is not None:
            return OidcToken(self.oidc_token.service_account_email, self.oidc_token.audience)
        if self.oauth_token is not None:
            return OAuthToken(self.oauth_token.service_account_email, self.oauth_token.scope)
        return NoAuth() if self.auth else None


class OwnHttpRequestIn(HttpRequestIn):
    """The same in a message of our own, whose body may lie in the body store."""

    stored_body: StoredBodyIn | None = None

    def to_request(self) -> HttpRequest:
        """The core's value."""
        request = super().to_request()
        if self.stored_body is None:
            return request
        return HttpRequest(
            request.url, request.method, request.headers, StoredBody(self.stored_body.size, self.stored_body.sha256), request.auth
        )


class RetryIn(Edge):
    """The retry policy."""

    max_attempts: Annotated[int, Field(ge=1, le=10_000)] = _DEFAULT.max_attempts
    min_backoff: fields.Wait = _DEFAULT.min_backoff
    max_backoff: fields.Wait = _DEFAULT.max_backoff
    multiplier: Annotated[float, Field(ge=1, le=1000)] = _DEFAULT.multiplier
    jitter: Literal["none", "equal", "full"] = _DEFAULT.jitter.value
    retry_on: list[fields.RetryOn] = Field(default_factory=lambda: list(_DEFAULT.retry_on))

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.min_backoff > self.max_backoff:
            raise fields.refuse(f"minBackoff, {duration_text(self.min_backoff)}, is over maxBackoff, {duration_text(self.max_backoff)}")
        return self

    def to_policy(self) -> RetryPolicy:
        """The core's value."""
        return RetryPolicy(
            self.max_attempts, self.min_backoff, self.max_backoff, float(self.multiplier), Jitter(self.jitter), tuple(self.retry_on)
        )


class CallbackRetryIn(RetryIn):
    """The policy of a callback: its own defaults."""

    max_attempts: Annotated[int, Field(ge=1, le=10_000)] = CALLBACK_RETRIES.max_attempts
    min_backoff: fields.Wait = CALLBACK_RETRIES.min_backoff
    max_backoff: fields.Wait = CALLBACK_RETRIES.max_backoff
    multiplier: Annotated[float, Field(ge=1, le=1000)] = CALLBACK_RETRIES.multiplier
    retry_on: list[fields.RetryOn] = Field(default_factory=lambda: list(CALLBACK_RETRIES.retry_on))


class PubsubIn(Edge):
    """A Pub/Sub topic by its full name, https://cloud.google.com/pubsub/docs/create-topic."""

    topic: fields.Topic


class CallbackIn(Edge):
    """Who is told when the task ends: a URL, with a `secret` that is configured, or a Pub/Sub topic."""

    url: fields.Url | None = None
    pubsub: PubsubIn | None = None
    on: Annotated[list[Literal["succeeded", "failed", "cancelled"]], Field(min_length=1)] = Field(default_factory=lambda: list(EVENTS))  # type: ignore[arg-type] # EVENTS are these
    secret: Annotated[str, Field(validate_default=True)] = "default"  # noqa: S105 — a secret's name, not a secret
    headers: fields.Headers = Field(default_factory=dict)
    oidc_token: OidcTokenIn | None = None
    retry: CallbackRetryIn = Field(default_factory=CallbackRetryIn)
    attempt_timeout: fields.Attempt = timedelta(seconds=30)

    @field_validator("on")
    @classmethod
    def _once(cls, events: list[str]) -> list[str]:
        if len(set(events)) < len(events):
            raise fields.refuse("each event is named once")
        return events

    @field_validator("secret")
    @classmethod
    def _configured(cls, name: str, info: ValidationInfo) -> str:
        known: Collection[str] = (info.context or {}).get("secrets", ())
        if name not in known and info.data.get("pubsub") is None:
            raise fields.refuse(f"no webhook secret named {name} is configured here: LONGCALL_WEBHOOK_SECRETS names them")
        return name

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.url is None) == (self.pubsub is None):
            raise fields.refuse("one of url and pubsub is needed")
        if self.pubsub is not None and (given := sorted({"secret", "headers", "oidc_token"} & self.model_fields_set)):
            raise fields.refuse(f"{to_camel(given[0])} goes with url: Pub/Sub is published to with the runner's own token")
        return self

    def to_callback(self) -> Callback:
        """The core's value."""
        on, retry = tuple(self.on), self.retry.to_policy()
        if self.pubsub is not None:
            return Callback(topic=self.pubsub.topic, on=on, retry=retry, attempt_timeout=self.attempt_timeout)
        auth = OidcToken(self.oidc_token.service_account_email, self.oidc_token.audience) if self.oidc_token else None
        return Callback(self.url or "", on, self.secret, self.headers, auth, retry, self.attempt_timeout)


class HandPutIn(Edge):
    """A task put on the queue by hand: its id and time are Cloud Tasks' own."""

    http_request: HttpRequestIn
    attempt_timeout: fields.Attempt = MAX_ATTEMPT
    connect_timeout: fields.Attempt = timedelta(seconds=10)
    idle_timeout: fields.Attempt | None = None
    task_timeout: fields.Span | None = None
    retry: RetryIn = Field(default_factory=RetryIn)
    callback: CallbackIn | None = None
    labels: Annotated[dict[fields.LabelName, Annotated[str, Field(max_length=255)]], Field(max_length=64)] = Field(default_factory=dict)

    def to_spec(self, schedule_time: datetime | None = None) -> TaskSpec:
        """The core's value."""
        return TaskSpec(
            request=self.http_request.to_request(),
            schedule_time=schedule_time,
            attempt_timeout=self.attempt_timeout,
            connect_timeout=self.connect_timeout,
            idle_timeout=self.idle_timeout,
            task_timeout=self.task_timeout,
            retry=self.retry.to_policy(),
            callback=self.callback.to_callback() if self.callback else None,
            labels=self.labels,
        )


class TaskIn(HandPutIn):
    """The body of `POST /v1/tasks`."""

    id: fields.Id | None = None
    schedule_time: fields.Time | None = None


class OwnTaskIn(HandPutIn):
    """The task in a message of our own."""

    http_request: OwnHttpRequestIn
    schedule_time: fields.Time | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads tasks, knowing which webhook secrets are configured and what may be called. Raises InvalidArgumentError or TooLargeError.

    A create is told at once what may not be called. What comes off the queue is not judged here: its attempt is refused, so that the
    task is there to be read.
    """

    secrets: frozenset[str] = frozenset()
    rules: TargetRules = STRICT

    def task(self, data: object, now: datetime) -> tuple[str | None, TaskSpec]:
        """Read a create: the id, if given, and the task as asked for."""
        asked = self._checked(TaskIn, data, self.rules)
        if asked.schedule_time is not None and asked.schedule_time > now + MAX_AHEAD:
            ahead = (asked.schedule_time - now).days
            raise InvalidArgumentError(FieldError("/scheduleTime", f"it may be at most 28 days ahead, and is {ahead}"))
        return asked.id, asked.to_spec(asked.schedule_time)

    def hand_put(self, data: object) -> TaskSpec:
        """Read a task put on the queue by hand."""
        return self._checked(HandPutIn, data).to_spec()

    def own(self, data: object) -> TaskSpec:
        """Read the task in a message of our own."""
        asked = self._checked(OwnTaskIn, data)
        return asked.to_spec(asked.schedule_time)

    def _checked(self, model: type[Model], data: object, rules: TargetRules | None = None) -> Model:
        try:
            return model.model_validate(data, context={"secrets": self.secrets, "rules": rules})
        except ValidationError as error:
            raise mistakes(error.errors(), model) from None


def _snake(name: str) -> str:
    return {"oidcToken": "oidc_token", "oauthToken": "oauth_token"}.get(name, name)
