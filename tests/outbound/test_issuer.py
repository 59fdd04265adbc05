"""The laptop's own tokens; that they can be checked is the embedded queue's to show, tests/queue/test_queue_tokens.py."""

from datetime import UTC, datetime, timedelta

import pytest

from longcall.core.audience import AccessTokenWanted, IdTokenWanted
from longcall.outbound.issuer import LocalIssuer
from longcall.outbound.minted import NoTokenError

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def signed(email: str, audience: str, now: datetime) -> str:
    """Stands in for a signature."""
    return f"{email} {audience} {now:%H:%M}"


async def test_it_signs_for_whom_it_is_asked() -> None:
    """The account that is named, or its own; the audience; the clock's time, for an hour."""
    issuer = LocalIssuer(signed, lambda: NOW)
    minted = await issuer.mint(IdTokenWanted("https://a.example", "caller@p.example"))
    assert (minted.token, minted.expires) == ("caller@p.example https://a.example 12:00", NOW + timedelta(hours=1))
    unnamed = await issuer.mint(IdTokenWanted("https://a.example"))
    assert unnamed.token.split() == ["longcall@localhost", "https://a.example", "12:00"]


async def test_it_has_no_access_tokens() -> None:
    """Those open Google's own doors, which no key of ours does."""
    with pytest.raises(NoTokenError, match="no access tokens"):
        await LocalIssuer(signed, lambda: NOW).mint(AccessTokenWanted(("scope",)))
