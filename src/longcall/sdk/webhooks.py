"""For those who are called back: whether a callback is from their Longcall, as it was sent, and new.

Standard Webhooks 1.0: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from longcall.core.errors import CallerMistake, FieldError, InvalidArgumentError, LongcallError
from longcall.core.signing import key_of, sign
from longcall.core.text import parse_time
from longcall.core.wire import Json, loads
from longcall.sdk.view import Response, TaskView, response_fields, view_fields

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = timedelta(minutes=5)
_SECONDS = re.compile(r"0|[1-9]\d{0,10}", re.ASCII)  # one way to write each time, and each is one that datetime has


class BadSignatureError(CallerMistake):
    """This is no callback that was signed with one of our secrets just now."""

    code = "UNAUTHENTICATED"


class Headers(Protocol):
    """The headers of a request, as any framework has them."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and values; names in any case."""
        ...


@dataclass(frozen=True)
class Event:
    """A callback. `type` is "task.succeeded", "task.failed" or "task.cancelled"; `timestamp` is when the task ended.

    `id` is the same however often this end is told: who has acted on it already can let it be. `task` has its last attempt only,
    and neither the request's headers nor its body. `raw` is the whole JSON.
    """

    type: str
    id: str
    timestamp: datetime
    task: TaskView
    raw: Json = field(repr=False, compare=False)


def verify(
    headers: Headers, body: bytes, secrets: str | Iterable[str], *, now: datetime | None = None, tolerance: timedelta = TOLERANCE
) -> Event:
    """Read a callback that was signed with one of `secrets` (`whsec_…`), at most `tolerance` from `now`.

    `body` is what came, byte for byte: JSON that was parsed and written again has another signature. Raises BadSignatureError, to be
    answered with 401 or so; InvalidArgumentError when a secret is none, or when what was signed rightly is no callback of Longcall's.
    """
    given = {name.lower(): value for name, value in headers.items()}
    if missing := [name for name in (ID, TIMESTAMP, SIGNATURE) if not given.get(name)]:
        raise BadSignatureError(f"this is not signed: it has no {' and no '.join(missing)}")
    if not all(given[name].isascii() for name in (ID, TIMESTAMP, SIGNATURE)):
        raise BadSignatureError(f"this is not signed as we sign: {ID}, {TIMESTAMP} and {SIGNATURE} are ASCII")
    at = _moment(given[TIMESTAMP])
    expected = [sign(secret, given[ID], at, body) for secret in _checked(secrets)]
    if not _is_among(expected, given[SIGNATURE].split()):
        raise BadSignatureError("no signature fits: the secret is another one, or the body or the headers are not as they were sent")
    _check_age(at, now or datetime.now(UTC), tolerance)  # noqa: TID251 — the receiver's own program, where nothing hands the time in
    return _event(given[ID], body)


def _moment(text: str) -> datetime:
    if not _SECONDS.fullmatch(text):
        raise BadSignatureError(f"{TIMESTAMP} is no time in whole seconds since 1970")
    return datetime.fromtimestamp(int(text), UTC)


def _checked(secrets: str | Iterable[str]) -> list[str]:
    found = [secrets] if isinstance(secrets, str) else list(secrets)
    try:
        for secret in found:
            key_of(secret)
    except ValueError as error:
        raise InvalidArgumentError(FieldError("secrets", str(error))) from None
    if not found:  # nothing to check with is a mistake of the receiver's, and must not look like the sender's
        raise InvalidArgumentError(FieldError("secrets", "at least one is needed: what LONGCALL_WEBHOOK_SECRETS has"))
    return found


def _is_among(expected: Iterable[str], given: Iterable[str]) -> bool:
    """Compare in constant time: how long it takes says nothing about how much of a signature was right."""
    return any(hmac.compare_digest(each, text) for text in given for each in expected)


def _check_age(at: datetime, now: datetime, tolerance: timedelta) -> None:
    if abs(now - at) <= tolerance:
        return
    which = "old: it may be sent by somebody who kept a copy" if at < now else "from the future: a clock is wrong"
    raise BadSignatureError(f"this was signed at {at.isoformat()}, and it is {now.isoformat()} here, so it is {which}")


def _event(message_id: str, body: bytes) -> Event:
    try:
        raw = loads(body)
        return Event(str(raw["type"]), message_id, parse_time(raw["timestamp"]), _task(raw["data"]["task"]), raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"this is signed rightly and no callback of Longcall's ({type(error).__name__}: {error})"
        raise InvalidArgumentError(FieldError("body", said)) from None


def _task(data: Json) -> TaskView:
    def elsewhere() -> bytes:
        raise LongcallError(f"this body is too large for a callback: `Longcall().response({data['id']!r})` fetches it")

    found = data.get("response")
    return TaskView(**view_fields(data), received=Response(**response_fields(found), fetch=elsewhere) if found else None)
