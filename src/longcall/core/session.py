"""A browser's session: what stands in its cookie after a token was shown once, and what its changes must carry.

The key is derived from the token's stored hash, so every runner knows it and a session ends with its token; and from a secret that the
runners share, where they share one, so that the hashes alone make no session.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from longcall.core.access import Caller, Token, same

LIFE = timedelta(hours=12)
_DIGITS = 12  # of Unix seconds, for some 30,000 years


@dataclass(frozen=True, slots=True)
class Session:
    """Whose it is, the cookie's value, and the CSRF token that goes with it."""

    caller: Caller
    value: str
    csrf: str


def begin(token: Token, secret: str, now: datetime) -> Session:
    """Begin a session for a token; it is good for LIFE."""
    return _session(token, secret, str(int((now + LIFE).timestamp())))


def resume(tokens: Iterable[Token], secret: str, value: str, now: datetime) -> Session | None:
    """The session that a cookie's value stands for; None when it is over, forged, or its token is gone. Constant time over the tokens."""
    expires = value.partition(".")[0]
    if not (expires.isascii() and expires.isdigit() and len(expires) <= _DIGITS) or int(expires) <= now.timestamp():
        return None
    found = None
    for token in tokens:
        session = _session(token, secret, expires)
        if same(session.value, value):
            found = session
    return found


def _session(token: Token, secret: str, expires: str) -> Session:
    key = hmac.digest(secret.encode(), token.digest.encode(), hashlib.sha256)
    name = token.caller.name
    signature, csrf = (hmac.digest(key, f"{what}/{expires}/{name}".encode(), hashlib.sha256).hex() for what in ("session", "csrf"))
    return Session(token.caller, f"{expires}.{signature}.{name}", csrf)
