"""A token just minted, read from what an issuer answered. No token is ever shown, and no answer quoted: it may hold one."""

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from longcall.core.attempt import Trouble
from longcall.core.audience import Wanted
from longcall.outbound.trouble import NothingSentError

_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1: nothing else can stand in a header
_REASON = re.compile(r"[A-Z][A-Z_]{2,39}")  # google.rpc.ErrorInfo.reason, google.rpc.Status.status


class NoTokenError(NothingSentError):
    """No token is to be had; `trouble` says why, and what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(Trouble("NO_TOKEN", message, hint))


@dataclass(frozen=True, slots=True)
class Minted:
    """A token and the time it ends."""

    token: str = field(repr=False)
    expires: datetime


class Source(Protocol):
    """Where tokens come from."""

    async def mint(self, wanted: Wanted) -> Minted:
        """Mint a token. Raises NoTokenError."""
        ...


def id_token(text: object, issuer: str) -> Minted:
    """An ID token whose end stands in it. It came from its issuer itself, so its signature is not checked. Raises NoTokenError."""
    token = _bearer(text, issuer)
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return Minted(token, datetime.fromtimestamp(claims["exp"], UTC))
    except (LookupError, ValueError, TypeError, OverflowError, OSError):
        raise _no_token_in(issuer) from None


def access_token(text: object, seconds: object, now: datetime, issuer: str) -> Minted:
    """An access token that lives for so many seconds from when it was asked for. Raises NoTokenError."""
    try:
        return Minted(_bearer(text, issuer), now + timedelta(seconds=float(str(seconds))))
    except (ValueError, OverflowError):
        raise _no_token_in(issuer) from None


def read_json(body: bytes, issuer: str) -> dict[str, Any]:
    """Read an answer. Raises NoTokenError."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _no_token_in(issuer)
    return found


def reason(body: bytes) -> str:
    """The word for what is wrong in an error of a Google API (AIP-193), in brackets; empty when there is none."""
    try:
        error = json.loads(body)["error"]
        named = [each.get("reason") for each in error.get("details", [])]
        found = next((str(each) for each in [*named, error.get("status")] if each), "")
    except (LookupError, ValueError, TypeError, AttributeError):
        return ""
    return f" ({found})" if _REASON.fullmatch(found) else ""


def _bearer(text: object, issuer: str) -> str:
    if not isinstance(text, str) or not _BEARER.fullmatch(text):
        raise _no_token_in(issuer)
    return text


def _no_token_in(issuer: str) -> NoTokenError:
    return NoTokenError(f"{issuer} answered with something that is no token")
