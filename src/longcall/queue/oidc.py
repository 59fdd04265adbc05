"""The issuer of the tokens that HTTP targets ask for: what Google's would say, signed by a key of this queue's own.

https://cloud.google.com/tasks/docs/creating-http-target-tasks#token and
https://cloud.google.com/docs/authentication/token-types#id
"""

import hashlib
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joserfc.jwk import RSAKey

LIFETIME = timedelta(hours=1)
CONFIGURATION_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/.well-known/jwks.json"
CERTIFICATES_PATH = "/oauth2/v1/certs"
"""Where Google has the same keys for those who read PEM: google-auth without PyJWT does."""

_ALGORITHM, _BITS = "RS256", 2048
_SUBJECTS = 10**20


class Issuer:
    """Signs tokens under its name, the claim ``iss``. ``pem`` is a private key by ``new_key``, which no repr shows."""

    def __init__(self, name: str, pem: str) -> None:
        self.name = name
        self._pem = pem

    def id_token(self, email: str, audience: str, now: datetime) -> str:
        """Return an OpenID Connect token of a service account, good for an hour."""
        return self._signed(email, now, {"aud": audience, "email_verified": True})

    def access_token(self, email: str, scope: str, now: datetime) -> str:
        """Return what stands in for an OAuth access token; Google's own can be read by Google alone."""
        return self._signed(email, now, {"scope": scope})

    def jwks(self) -> dict[str, object]:
        """Return the public key as a JWK set (RFC 7517)."""
        public = dict(self._key.as_dict(private=False))
        return {"keys": [public | {"kid": self._kid, "use": "sig", "alg": _ALGORITHM}]}

    def certificates(self) -> dict[str, str]:
        """Return the public key in PEM, by its id."""
        return {self._kid: self._key.as_pem(private=False).decode()}

    def configuration(self, url: str) -> dict[str, object]:
        """Return the discovery document (OpenID Connect Discovery 1.0) of an issuer that is served at ``url``."""
        return {
            "issuer": self.name,
            "jwks_uri": f"{url}{KEYS_PATH}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [_ALGORITHM],
            "claims_supported": ["aud", "azp", "email", "email_verified", "exp", "iat", "iss", "sub"],
        }

    def _signed(self, email: str, now: datetime, claims: dict[str, object]) -> str:
        from joserfc import jwt  # noqa: PLC0415 — only those need it whose tasks ask for a token

        issued, subject = int(now.timestamp()), _subject(email)
        said = {"iss": self.name, "sub": subject, "azp": subject, "email": email}
        times = {"iat": issued, "exp": issued + int(LIFETIME.total_seconds())}
        return jwt.encode({"alg": _ALGORITHM, "kid": self._kid}, said | claims | times, self._key)

    @cached_property
    def _key(self) -> "RSAKey":
        from joserfc.jwk import RSAKey  # noqa: PLC0415 — as above

        return RSAKey.import_key(self._pem)

    @cached_property
    def _kid(self) -> str:
        return self._key.thumbprint()


def new_key() -> str:
    """Return a new private key in PEM."""
    from joserfc.jwk import RSAKey  # noqa: PLC0415 — as above

    return RSAKey.generate_key(_BITS, private=True).as_pem(private=True).decode()


def _subject(email: str) -> str:
    # Google's is the account's number of 21 digits.
    return f"1{int.from_bytes(hashlib.sha256(email.encode()).digest()) % _SUBJECTS:020d}"
