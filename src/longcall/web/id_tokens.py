"""ID tokens of Google's issuers, checked by google-auth: whose they are, and that they are meant for us.

https://cloud.google.com/docs/authentication/token-types#id and https://cloud.google.com/iap/docs/signed-headers-howto
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from longcall.core.errors import UnauthenticatedError

SKEW = 30  # seconds that clocks may differ by, as IAP's page has it


class Keys(Protocol):
    """An issuer's public keys."""

    async def find(self, key_id: str) -> Mapping[str, str]:
        """Keys or certificates in PEM by their ids, asked for anew when this one is not known. Raises UnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs, how, and whether its tokens say of an email that it was verified."""

    names: frozenset[str]
    algorithm: str
    says_verified: bool


GOOGLE = Issuer(frozenset({"accounts.google.com", "https://accounts.google.com"}), "RS256", says_verified=True)
IAP = Issuer(frozenset({"https://cloud.google.com/iap"}), "ES256", says_verified=False)


@dataclass(frozen=True)
class IdTokens:
    """Checks one issuer's tokens for our audiences. No audience, no token is right."""

    issuer: Issuer
    keys: Keys
    audiences: Sequence[str]

    async def email(self, token: str) -> str:
        """The verified email that a token stands for. Raises UnauthenticatedError; UnavailableError when the keys can't be had."""
        claims = await self._claims(token)
        if claims.get("iss") not in self.issuer.names:
            raise UnauthenticatedError("this ID token is from another issuer")
        email = claims.get("email")
        if not isinstance(email, str) or (self.issuer.says_verified and claims.get("email_verified") is not True):
            raise UnauthenticatedError("this ID token has no verified email: it is minted with includeEmail, or format=full")
        return email

    async def _claims(self, token: str) -> Mapping[str, Any]:
        from google.auth import exceptions, jwt  # noqa: PLC0415 — 80 ms, and only where ID tokens are used

        try:
            header = jwt.decode_header(token)  # type: ignore[no-untyped-call] # google-auth has types in part
            if header.get("alg") != self.issuer.algorithm:  # "none" too: what is not signed is nobody's
                raise UnauthenticatedError(f"this ID token is not signed with {self.issuer.algorithm}")
            keys = await self.keys.find(str(header.get("kid")))
            audience = list(self.audiences)  # an empty one lets nobody in, None would let everybody
            found: Mapping[str, Any] = jwt.decode(token, keys, audience=audience, clock_skew_in_seconds=SKEW)  # type: ignore[no-untyped-call] # as above
        except exceptions.InvalidValue as error:  # too early, expired, another audience; the other errors repeat the token
            raise UnauthenticatedError(f"this ID token is not right: {error}") from None
        except (exceptions.GoogleAuthError, ValueError, TypeError, RecursionError):
            raise UnauthenticatedError("this is no ID token that can be verified") from None
        return found
