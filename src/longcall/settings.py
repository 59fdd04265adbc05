"""The settings, read once from the environment into a frozen object. The only module that reads it."""

import difflib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from urllib.parse import urlsplit

from longcall.core.access import Right, Token, callers_from_text, tokens_from_text
from longcall.core.callback import PUBSUB
from longcall.core.errors import CallerMistake
from longcall.core.signing import key_of
from longcall.core.target import HostPattern, TargetRules
from longcall.core.text import human_duration
from longcall.core.view import ALWAYS_REDACTED
from longcall.core.wire import loads

PREFIX = "LONGCALL_"
CLIENT = frozenset({"URL", "TOKEN"})  # read by the SDK and the client commands, in the caller's own process
FACTS = {
    "app_engine": "GAE_ENV",
    "project": "GOOGLE_CLOUD_PROJECT",
    "otel": "OTEL_EXPORTER_OTLP_ENDPOINT",
}  # what others' variables say of where we run
_QUEUE = re.compile(r"projects/[^/]+/locations/[^/]+/queues/[A-Za-z0-9-]{1,100}")
OTLP_PROTOCOL, LOCAL_COLLECTOR = "http/protobuf", "http://localhost:4318"
SHORTEST_RETENTION = timedelta(hours=25)
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+")
SECRET_MANAGER = "sm://"  # noqa: S105 — a scheme
CLOUD_TASKS = "https://cloudtasks.googleapis.com"
_LOCATION = "projects/longcall/locations/local"


@dataclass(frozen=True, slots=True)
class Otel:
    """What `OTEL_*` asks for: the whole URLs that traces and metrics go to (empty: nowhere), and whether callers' baggage is passed on."""

    traces: str = ""
    metrics: str = ""
    baggage: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set. `max_calls` 0 means a third of the limit on open files, `hold_slots` 0 no limit; sizes are in bytes.

    `allow_private_targets` None is yes under `up`, no elsewhere. `auth` empty is none, on loopback alone.
    """

    store: str = "sqlite:///longcall.db"
    bodies: str = ""
    queue: str = f"{_LOCATION}/queues/default"
    control_queue: str = f"{_LOCATION}/queues/control"
    queue_endpoint: str = "http://127.0.0.1:8124"
    queue_secret: str = field(default="", repr=False)
    public_url: str = ""
    pubsub_endpoint: str = PUBSUB
    webhook_secrets: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    allowed_targets: tuple[HostPattern, ...] = ()
    allow_private_targets: bool | None = None
    impersonate: str = ""
    max_calls: int = 0
    hold_slots: int = 0
    when_full: str = "refuse"
    max_response_bytes: int = 32 * 1024 * 1024
    retention: timedelta = timedelta(days=30)
    redact_headers: frozenset[str] = ALWAYS_REDACTED
    log_format: str = ""
    auth: str = ""
    tokens: tuple[Token, ...] = field(default=(), repr=False)
    audience: tuple[str, ...] = ()
    allowed_callers: Mapping[str, Right] = field(default_factory=dict)
    create_rate: int = 500
    dispatch_url: str = ""
    dispatch_service_account: str = ""
    app_engine: bool = False
    project: str = ""
    otel: Otel = field(default_factory=Otel)

    @property
    def targets(self) -> TargetRules:
        """Where Longcall may call. Where Pub/Sub is was said by the operator too."""
        pubsub = HostPattern.of(urlsplit(self.pubsub_endpoint).netloc)
        return TargetRules(self.allow_private_targets is True, (*self.allowed_targets, pubsub) if self.allowed_targets else ())


def _text(text: str) -> str:
    return text


def _whole_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError("a whole number of at least 1 was expected")
    return int(text)


def _retention(text: str) -> timedelta:
    time = human_duration(text)
    if time < SHORTEST_RETENTION:
        raise ValueError("at least 25h was expected: a call lasts up to 24 hours, and its queue may ask for it once more after that")
    return time


def _list(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _header_names(text: str) -> frozenset[str]:
    return ALWAYS_REDACTED | {name.strip().lower() for name in text.split(",") if name.strip()}


def _host_patterns(text: str) -> tuple[HostPattern, ...]:
    return tuple(HostPattern.of(each.strip()) for each in text.split(",") if each.strip())


def _yes_or_no(text: str) -> bool:
    return _one_of("true", "false")(text) == "true"


def _queue(text: str) -> str:
    if not _QUEUE.fullmatch(text):
        raise ValueError("projects/P/locations/L/queues/Q was expected")
    return text


def _web_address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("a URL with http:// or https:// was expected")
    return text.rstrip("/")


def _account(text: str) -> str:
    if not _ACCOUNT.fullmatch(text):
        raise ValueError("a service account's address, like name@project.iam.gserviceaccount.com, was expected")
    return text


def _endpoint(text: str) -> str:
    return _web_address(text or CLOUD_TASKS)


def _webhook_secrets(text: str) -> Mapping[str, Sequence[str]]:
    """One secret, whose name is then `default`, or JSON of names with a list of secrets each."""
    named = loads(text) if text.lstrip().startswith("{") else {"default": [text]}
    for secrets in named.values():
        if not isinstance(secrets, list) or not secrets:
            raise ValueError('a secret, or {"name": ["whsec_…"]} was expected')
        for secret in secrets:
            key_of(secret)
    return {name: tuple(secrets) for name, secrets in named.items()}


def _one_of(*known: str) -> Callable[[str], str]:
    def read_one(text: str) -> str:
        if text not in known:
            raise ValueError(f"{' or '.join(known)} was expected")
        return text

    return read_one


_READERS: dict[str, Callable[[str], object]] = {
    "STORE": _text,
    "BODIES": _text,
    "QUEUE": _queue,
    "CONTROL_QUEUE": _queue,
    "QUEUE_ENDPOINT": _endpoint,
    "QUEUE_SECRET": _text,
    "PUBLIC_URL": _web_address,
    "PUBSUB_ENDPOINT": _web_address,
    "WEBHOOK_SECRETS": _webhook_secrets,
    "ALLOWED_TARGETS": _host_patterns,
    "ALLOW_PRIVATE_TARGETS": _yes_or_no,
    "IMPERSONATE": _account,
    "MAX_CALLS": _whole_number,
    "HOLD_SLOTS": _whole_number,
    "WHEN_FULL": _one_of("refuse", "detach"),
    "MAX_RESPONSE_BYTES": _whole_number,
    "RETENTION": _retention,
    "REDACT_HEADERS": _header_names,
    "LOG_FORMAT": _one_of("google", "console", "json"),
    "AUTH": _one_of("none", "token", "google"),
    "TOKENS": tokens_from_text,
    "AUDIENCE": _list,
    "ALLOWED_CALLERS": callers_from_text,
    "CREATE_RATE": _whole_number,
    "DISPATCH_URL": _web_address,
    "DISPATCH_SERVICE_ACCOUNT": _text,
}
_SECRET = frozenset({"QUEUE_SECRET", "TOKENS", "WEBHOOK_SECRETS"})


def environment() -> Mapping[str, str]:
    """The environment itself, for those who look for Google's credentials there as Google's own libraries do."""
    return os.environ  # noqa: TID251 — this is the module that reads it


def names(environ: Mapping[str, str] = os.environ) -> list[str]:  # noqa: TID251 — as above
    """The LONGCALL_* variables that are set, without their values."""
    return sorted(PREFIX + name for name in _given(environ))


def references(environ: Mapping[str, str] = os.environ) -> frozenset[str]:  # noqa: TID251 — as above
    """Every `sm://…` that stands for a setting's value: a secret that lies in Secret Manager."""
    return frozenset(value for name, value in _given(environ).items() if name in _READERS and value.startswith(SECRET_MANAGER))


def read(environ: Mapping[str, str] = os.environ, secrets: Mapping[str, str] = MappingProxyType({})) -> Settings:  # noqa: TID251 — as above
    """Read LONGCALL_* variables, and what OTEL_* asks for. Raises CallerMistake naming the one that is wrong, and what was expected.

    `secrets` has the values that `references` stand for; no message shows one.
    """
    given = _given(environ)
    for name in sorted(given.keys() - _READERS.keys() - CLIENT):
        raise CallerMistake(f"{PREFIX}{name} is no setting{_nearest(name)}")
    hidden = _SECRET | {name for name, value in given.items() if value in secrets}
    given = {name: secrets.get(value, value) for name, value in given.items()}
    if not given.get("QUEUE", _LOCATION).startswith(_LOCATION):
        given.setdefault("QUEUE_ENDPOINT", "")
    found = {name.lower(): _read(name, given[name], hidden) for name in _READERS if name in given}
    facts = {"app_engine": bool(environ.get(FACTS["app_engine"])), "project": environ.get(FACTS["project"], "")}
    settings = Settings(**found, **facts, otel=_otel(environ))  # type: ignore[arg-type] # each reader gives its field's type
    for name, needs in _lacking(settings):
        raise CallerMistake(f"{PREFIX}{name}{needs}")
    return settings


def _otel(environ: Mapping[str, str]) -> Otel:
    """By https://opentelemetry.io/docs/specs/otel/protocol/exporter/, but nothing is sent unless asked for. The SDK reads the rest."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Otel()
    baggage = "baggage" in environ.get("OTEL_PROPAGATORS", "").replace(" ", "").split(",")
    return Otel(_otlp(environ, "TRACES"), _otlp(environ, "METRICS"), baggage)


def _otlp(environ: Mapping[str, str], signal: str) -> str:
    exporter = environ.get(f"OTEL_{signal}_EXPORTER", "")
    own, common = environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", ""), environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    if exporter == "none" or not (exporter or own or common):
        return ""
    if exporter not in {"", "otlp"}:
        raise CallerMistake(f"OTEL_{signal}_EXPORTER is {exporter!r}: otlp or none was expected")
    protocol = environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or OTLP_PROTOCOL
    if protocol != OTLP_PROTOCOL:
        raise CallerMistake(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}: {OTLP_PROTOCOL} was expected")
    return own or f"{(common or LOCAL_COLLECTOR).rstrip('/')}/v1/{signal.lower()}"


def _lacking(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that make no sense without another: its name, and what it needs."""
    if settings.auth == "token" and not settings.tokens:
        yield "AUTH", f" is token, and {PREFIX}TOKENS names none: `longcall keygen --token NAME` makes one"
    if settings.auth == "google" and not settings.audience:
        yield "AUTH", f" is google, and {PREFIX}AUDIENCE does not say whom ID tokens must be meant for"
    if settings.auth == "google" and not settings.allowed_callers:
        yield "AUTH", f" is google, and {PREFIX}ALLOWED_CALLERS names nobody"
    if settings.tokens and settings.auth != "token":
        yield "TOKENS", f" is set, and nobody is asked for one: set {PREFIX}AUTH=token"
    if settings.allowed_callers and settings.auth != "google":
        yield "ALLOWED_CALLERS", f" is set, and nobody is asked who it is: set {PREFIX}AUTH=google"
    if bool(settings.dispatch_url) != bool(settings.dispatch_service_account):
        yield "DISPATCH_URL", f" and {PREFIX}DISPATCH_SERVICE_ACCOUNT go together: where messages are sent, and as whom"


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(PREFIX): value for name, value in environ.items() if name.startswith(PREFIX)}


def _read(name: str, text: str, hidden: Collection[str]) -> object:
    try:
        return _READERS[name](text)
    except ValueError as error:
        shown = "is not right" if name in hidden else f"is {text!r}"
        raise CallerMistake(f"{PREFIX}{name} {shown}: {error}") from None


def _nearest(name: str) -> str:
    known = [*_READERS, *sorted(CLIENT)]
    near = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {PREFIX}{near[0]}?" if near else f": known are {', '.join(PREFIX + each for each in known)}"
