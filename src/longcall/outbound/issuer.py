"""A laptop's own tokens, for targets that check them as they will check Google's. Only `longcall up` has them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from longcall.core.audience import IdTokenWanted, Wanted
from longcall.outbound.minted import Minted, NoTokenError

LIFE = timedelta(hours=1)
ACCOUNT = "longcall@localhost"


@dataclass(frozen=True)
class LocalIssuer:
    """A Source. `id_token` signs for an account and an audience, good for an hour from the given time: the embedded queue's issuer does."""

    id_token: Callable[[str, str, datetime], str]
    now: Callable[[], datetime]

    async def mint(self, wanted: Wanted) -> Minted:
        """Mint an ID token that lives for an hour. Raises NoTokenError for an access token: those are Google's to give."""
        if not isinstance(wanted, IdTokenWanted):
            raise NoTokenError(
                "longcall up has no access tokens for Google's APIs of its own", "set LONGCALL_IMPERSONATE, and they are real"
            )
        now = self.now()
        return Minted(self.id_token(wanted.account or ACCOUNT, wanted.audience, now), now + LIFE)
