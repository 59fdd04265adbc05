"""What tells a delivery of the queue from everybody else's requests. Each host has its own way; whoever knows none of them stays out."""

from dataclasses import dataclass
from typing import Protocol

from starlette.datastructures import Headers

from longcall.core.access import same
from longcall.core.errors import UnauthenticatedError
from longcall.web.auth import bearer
from longcall.web.id_tokens import IdTokens


class QueueDoor(Protocol):
    """One way to know the queue."""

    async def opens(self, headers: Headers) -> bool:
        """Tell whether a request with these headers is the queue's. Raises UnavailableError when that can't be known just now."""
        ...


@dataclass(frozen=True, slots=True)
class AppEngineDoor:
    """On App Engine, and nowhere else: its front end takes this header off every request from outside.

    https://cloud.google.com/tasks/docs/creating-appengine-handlers#reading-headers
    """

    async def opens(self, headers: Headers) -> bool:
        """Any queue of the app may deliver."""
        return bool(headers.get("x-appengine-queuename"))


@dataclass(frozen=True, slots=True)
class SecretDoor:
    """A secret that the embedded queue and its runners share."""

    secret: str

    async def opens(self, headers: Headers) -> bool:
        """Compared in constant time; an empty secret opens to nobody."""
        given = headers.get("longcall-queue-secret", "")
        return bool(self.secret) and same(given, self.secret)


@dataclass(frozen=True, slots=True)
class OidcDoor:
    """An ID token of the service account that the queue's HTTP tasks are sent with, for the URL that they are sent to."""

    id_tokens: IdTokens
    service_account: str

    async def opens(self, headers: Headers) -> bool:
        """The token is right, and it is this account's."""
        token = bearer(headers)
        if token is None:
            return False
        try:
            return (await self.id_tokens.email(token)).lower() == self.service_account.lower()
        except UnauthenticatedError:
            return False
