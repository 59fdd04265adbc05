"""The edge's own field types: each says in a sentence what would be right."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from longcall.core.retry import RETRYABLE_BREAKS, is_retryable
from longcall.core.target import Place, TargetRules
from longcall.core.task import MAX_AHEAD, MAX_ATTEMPT, MAX_REQUEST_BYTES
from longcall.core.text import duration_text, parse_bytes, parse_duration, parse_time, time_text

MAX_URL = 2083  # characters, as Cloud Tasks has it
MAX_HEADERS_BYTES = 80 * 1024
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
_LABEL = re.compile(r"[^:\s]{1,63}")
# https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names
_TOPIC = re.compile(r"projects/[a-z0-9:.-]{1,100}/topics/(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_OURS = ("longcall-", "x-cloudtasks-", "x-appengine-", "x-google-")
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "expect"})


def refuse(message: str, kind: str = "refused") -> PydanticCustomError:
    """An error whose message is a whole sentence of ours."""
    return PydanticCustomError(kind, "{sentence}", {"sentence": message})  # a template of its own, so braces in the message stay


def _text(value: Any, what: str) -> str:  # noqa: ANN401 — anything that JSON holds
    if not isinstance(value, str):
        raise refuse(f"{what} is text, not {json_type(value)}")
    return value


def json_type(value: object) -> str:
    """What JSON calls the type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"


def _duration(value: Any) -> timedelta:  # noqa: ANN401 — as above
    try:
        return parse_duration(_text(value, 'a duration, like "2700s",'))
    except ValueError as error:
        raise refuse(f"{error}, not {value!r}") from None


def _time(value: Any) -> datetime:  # noqa: ANN401 — as above
    try:
        return parse_time(_text(value, 'a time, like "2026-11-24T08:00:00Z",'))
    except ValueError as error:
        raise refuse(f"{error}, not {value!r}") from None


def _bytes(value: Any) -> bytes:  # noqa: ANN401 — as above
    try:
        body = parse_bytes(_text(value, "body, in base64,"))
    except ValueError:
        raise refuse("bytes are written as base64") from None
    return sized(body)


def sized(body: bytes) -> bytes:
    """Refuse a request body over the limit."""
    if len(body) > MAX_REQUEST_BYTES:
        raise refuse(f"a request body has at most {MAX_REQUEST_BYTES} bytes, and this one has {len(body)}", kind="too_large")
    return body


def _between(low: timedelta, high: timedelta) -> Any:  # noqa: ANN401 — what pydantic's validators are
    def check(value: timedelta) -> timedelta:
        if not low <= value <= high:
            raise refuse(f"it must be from {duration_text(low)} to {duration_text(high)}, and is {duration_text(value)}")
        return value

    return AfterValidator(check)


def _url(url: str, info: ValidationInfo) -> str:
    if len(url) > MAX_URL:
        raise refuse(f"a URL has at most {MAX_URL} characters, and this one has {len(url)}")
    try:
        Place.of(url)
    except ValueError as error:
        raise refuse(str(error)) from None
    rules: TargetRules | None = (info.context or {}).get("rules")
    if rules is not None and (forbidden := rules.refuse_url(url)):
        raise refuse(forbidden.message)
    return url


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        _header(name, value)
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADERS_BYTES:
        raise refuse(f"headers have at most {MAX_HEADERS_BYTES} bytes")
    if len({name.lower() for name in headers}) < len(headers):
        raise refuse("a header is given once: names that differ only in case are the same")
    return headers


def _header(name: str, value: str) -> None:
    low = name.lower()
    if not _TOKEN.fullmatch(name):
        raise refuse(f"{name!r} is no header name")
    if low.startswith(_OURS) or low in _FRAMING:
        raise refuse(f"{name} is set by Longcall or by HTTP itself, so it can't be given")
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value) or value != value.strip() or not value.isascii():
        raise refuse(f"the value of {name} must be printable ASCII without spaces around it")


def is_id(text: str) -> bool:
    """Whether a caller may name a task so."""
    return _ID.fullmatch(text) is not None


def _id(value: str) -> str:
    if not is_id(value):
        raise refuse("an id has 1 to 500 letters, digits, hyphens or underscores")
    return value


def _label_name(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise refuse(f"a label's name has 1 to 63 characters, no colon and no space: {name!r} does not fit")
    return name


def _retry_on(item: str) -> str:
    if not is_retryable(item):
        names = ", ".join(each.value for each in RETRYABLE_BREAKS)
        raise refuse(f'{item!r} is none of {names}, a status like "503" or a class like "5xx"')
    return item


def _topic(text: str) -> str:
    if not _TOPIC.fullmatch(text):
        raise refuse(f"a topic's full name is expected, like projects/my-project/topics/ends, not {text!r}")
    return text


_AS_DURATION = (
    BeforeValidator(_duration),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d{1,9})?s$", "examples": ["2700s"]}),
)
_INSTANT, _MOMENT = timedelta(), timedelta(milliseconds=1)

Attempt = Annotated[timedelta, *_AS_DURATION, _between(_MOMENT, MAX_ATTEMPT)]
Wait = Annotated[timedelta, *_AS_DURATION, _between(_INSTANT, MAX_AHEAD)]
Span = Annotated[timedelta, *_AS_DURATION, _between(_MOMENT, timedelta(days=365))]
Patience = Annotated[timedelta, *_AS_DURATION, _between(_INSTANT, timedelta(seconds=60))]
Time = Annotated[
    datetime, BeforeValidator(_time), PlainSerializer(time_text, return_type=str), WithJsonSchema({"type": "string", "format": "date-time"})
]
Body = Annotated[bytes, BeforeValidator(_bytes), WithJsonSchema({"type": "string", "contentEncoding": "base64"})]
Url = Annotated[str, AfterValidator(_url), WithJsonSchema({"type": "string", "pattern": "^https?://", "maxLength": MAX_URL})]
Headers = Annotated[dict[str, str], AfterValidator(_headers)]
Id = Annotated[str, AfterValidator(_id), WithJsonSchema({"type": "string", "pattern": f"^{_ID.pattern}$"})]
LabelName = Annotated[str, AfterValidator(_label_name)]
Topic = Annotated[str, AfterValidator(_topic), WithJsonSchema({"type": "string", "pattern": r"^projects/[^/]+/topics/[^/]+$"})]
RetryOn = Annotated[str, AfterValidator(_retry_on), WithJsonSchema({"type": "string", "examples": ["unreachable", "503", "5xx"]})]
