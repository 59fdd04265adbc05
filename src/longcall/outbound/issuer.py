"""A laptop's own issuer of ID tokens, for targets that check them as they will check Google's.

OpenID Connect Core 1.0, section 2, and OpenID Connect Discovery 1.0. Only `longcall up` has one.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from longcall.core.audience import IdTokenWanted, Wanted
from longcall.core.errors import CallerMistake
from longcall.outbound.minted import Minted, NoTokenError

KEY = "issuer-key.pem"
LIFE = timedelta(hours=1)
ACCOUNT = "longcall@localhost"
ALGORITHM = "RS256"  # as Google's
DISCOVERY, JWKS, CERTS = "/.well-known/openid-configuration", "/.well-known/jwks.json", "/.well-known/certs.json"


@dataclass(frozen=True)
class LocalIssuer:
    """A Source. `url` is where its keys are served: the `iss` of its tokens. `pem` is its RSA key."""

    url: str
    pem: bytes = field(repr=False)
    now: Callable[[], datetime]

    async def mint(self, wanted: Wanted) -> Minted:
        """Mint an ID token that lives for an hour. Raises NoTokenError for an access token: those are Google's to give."""
        if not isinstance(wanted, IdTokenWanted):
            raise NoTokenError(
                "longcall up has no access tokens for Google's APIs of its own", "set LONGCALL_IMPERSONATE, and they are real"
            )
        now = self.now()
        return Minted(self.issue(wanted.audience, wanted.account or ACCOUNT, now), now + LIFE)

    def issue(self, audience: str, email: str, now: datetime) -> str:
        """An ID token with the claims that Google's have."""
        begin = int(now.timestamp())
        claims = {"iss": self.url, "aud": audience, "sub": email, "email": email, "email_verified": True}
        lifetime = {"iat": begin, "exp": begin + int(LIFE.total_seconds())}
        return jwt.encode({"alg": ALGORITHM, "kid": self._kid}, claims | lifetime, self._key, [ALGORITHM])

    def served(self) -> dict[str, dict[str, Any]]:
        """What is to be answered under which path: discovery, JWK set (RFC 7517), and the same key as Google's PEM map."""
        return {DISCOVERY: self.openid_configuration(), JWKS: self.jwks(), CERTS: self.certs()}

    def openid_configuration(self) -> dict[str, Any]:
        """What a checker of tokens looks up first."""
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}{JWKS}",
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
        }

    def jwks(self) -> dict[str, Any]:
        """The public key, for checkers that read JWK."""
        return {"keys": [self._key.as_dict(private=False)]}

    def certs(self) -> dict[str, Any]:
        """The public key by its id, which google-auth reads without PyJWT."""
        return {self._kid: self._key.as_pem(private=False).decode()}

    @cached_property
    def _key(self) -> RSAKey:
        key = RSAKey.import_key(self.pem, {"use": "sig", "alg": ALGORITHM})
        key.ensure_kid()
        return key

    @property
    def _kid(self) -> str:
        return str(self._key.kid)


def new_key() -> bytes:
    """Make an RSA key, in PEM. The library draws its own chance."""
    return RSAKey.generate_key(2048).as_pem(private=True)


def kept_key(folder: Path) -> bytes:
    """The folder's own key, made at its first start and readable by its owner alone. Raises CallerMistake for a spoilt one."""
    path = folder / KEY
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(new_key())
    pem = path.read_bytes()
    try:
        RSAKey.import_key(pem)
    except (JoseError, ValueError) as error:
        raise CallerMistake(f"{path} is no RSA key: {type(error).__name__}; remove it, and a new one is made") from None
    return pem
