"""Who may come in, by the settings."""

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from longcall.outbound.certificates import Certificates
from longcall.outbound.clock import SystemClock
from longcall.settings import Settings
from longcall.web.auth import Gate, GoogleGuard, Guard, NoGuard, TokenGuard
from longcall.web.id_tokens import GOOGLE, IAP, IdTokens
from longcall.web.login import FAILURES, PATH, Login
from longcall.web.queue_door import AppEngineDoor, OidcDoor, QueueDoor, SecretDoor
from longcall.web.rates import Buckets, Rate


@dataclass(frozen=True)
class Entrance:
    """Who may come in, by the settings."""

    settings: Settings
    clock: SystemClock
    google: Certificates
    iap: Certificates

    def gate(self, behind: ASGIApp) -> Gate:
        """What stands before the API."""
        rate = Rate("create", self.settings.create_rate, 2 * self.settings.create_rate)
        login = PATH if self.settings.auth == "token" else ""
        return Gate(behind, self.guard, Buckets(rate, self.clock.monotonic), self._hosts(), self.settings.app_engine, login)

    def login(self) -> Login | None:
        """Where browsers show a token."""
        guard = self.guard
        if not isinstance(guard, TokenGuard):
            return None
        return Login(guard, Buckets(FAILURES, self.clock.monotonic), self._hosts(), self.settings.app_engine)

    def queue_doors(self) -> list[QueueDoor]:
        """Every way that is configured for the queue to show that it is the queue."""
        doors: list[QueueDoor] = [AppEngineDoor()] if self.settings.app_engine else []
        if self.settings.queue_secret:
            doors.append(SecretDoor(self.settings.queue_secret))
        if self.settings.dispatch_url:
            tokens = IdTokens(GOOGLE, self.google, [self.settings.dispatch_url])
            doors.append(OidcDoor(tokens, self.settings.dispatch_service_account))
        return doors

    @cached_property
    def guard(self) -> Guard:
        """How callers are known."""
        match self.settings.auth:
            case "token":
                return TokenGuard(self.settings.tokens, self.settings.queue_secret, self.clock)
            case "google":
                resources = [each for each in self.settings.audience if each.startswith("/")]  # IAP's: /projects/…
                others = [each for each in self.settings.audience if not each.startswith("/")]
                own, iap = IdTokens(GOOGLE, self.google, others), IdTokens(IAP, self.iap, resources)
                return GoogleGuard(own, iap, self.settings.allowed_callers)
            case _:
                return NoGuard(self._hosts())

    def _hosts(self) -> frozenset[str]:
        return frozenset({urlsplit(self.settings.public_url).netloc.lower()}) - {""}
