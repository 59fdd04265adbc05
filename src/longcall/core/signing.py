"""Standard Webhooks 1.0: the signature that tells a receiver who sent a callback, and that it is as it was sent.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64


def key_of(secret: str) -> bytes:
    """The bytes of a secret: `whsec_` and base64 of 24 to 64 random bytes. Raises ValueError, which never holds the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"a webhook secret is {PREFIX} and the base64 of {SHORTEST} to {LONGEST} random bytes")
    return key


def secret_of(key: bytes) -> str:
    """Write a key as a secret."""
    return PREFIX + base64.b64encode(key).decode("ascii")


def sign(secret: str, message_id: str, at: datetime, body: bytes) -> str:
    """One signature, `v1,` and base64 of HMAC-SHA256 over `{id}.{unix seconds}.{body}`."""
    signed = b".".join((message_id.encode(), str(int(at.timestamp())).encode(), body))
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode("ascii")


def headers(secrets: Iterable[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of one attempt: signed by every active secret, so that a receiver may know the old or the new one."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(sign(secret, message_id, at, body) for secret in secrets),
    }
