"""Secrets that are changed in Secret Manager while a runner runs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from longcall.assembly.entrance import Entrance
from longcall.core.errors import LongcallError
from longcall.engine import observe
from longcall.engine.calls import Calls
from longcall.engine.ports import Clock
from longcall.settings import Settings
from longcall.web.auth import TokenGuard

EVERY = 300.0  # seconds
Reload = Callable[[], Awaitable[Settings]]


@dataclass(frozen=True)
class Rotation:
    """Takes up new secrets that sign callbacks, and new tokens of callers. What else is set is read once, at the start."""

    reload: Reload
    calls: Calls
    entrance: Entrance
    clock: Clock

    async def keep(self) -> None:
        """Look every five minutes, for ever."""
        while True:
            await self.clock.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Read the secrets again, and use what has changed. What can't be read, or is no secret, changes nothing."""
        try:
            new = await self.reload()
        except LongcallError as error:
            observe.out_of_reach("Secret Manager", error)
            return
        guard, changed = self.entrance.guard, []
        if new.webhook_secrets != self.calls.secrets:
            self.calls.secrets = new.webhook_secrets
            changed.append("WEBHOOK_SECRETS")
        if isinstance(guard, TokenGuard) and new.tokens != guard.tokens:
            guard.tokens = new.tokens
            changed.append("TOKENS")
        if changed:
            observe.secrets_rotated(changed)
