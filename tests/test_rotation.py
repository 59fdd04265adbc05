"""Secrets that are changed while a runner runs."""

import asyncio
from dataclasses import replace

import pytest
from starlette.requests import Request

from longcall.assembly import Entrance
from longcall.assembly.rotation import EVERY, Rotation
from longcall.core.access import Caller, Right, Token, digest
from longcall.core.errors import CallerMistake, UnauthenticatedError, UnavailableError
from longcall.core.signing import secret_of
from longcall.outbound.certificates import Certificates, Issuers
from longcall.outbound.clock import SystemClock
from longcall.settings import Settings
from longcall.testing import settled
from tests.engine.house import House

OLD, NEW = secret_of(b"o" * 24), secret_of(b"n" * 24)


def token(text: str) -> Token:
    """A caller's token that may do everything."""
    return Token(Caller("ops", Right.WRITE), digest(text))


def asking(text: str) -> Request:
    """A request that shows a token."""
    return Request({"type": "http", "headers": [(b"authorization", f"Bearer {text}".encode())]})


BEFORE = replace(Settings(), auth="token", tokens=(token("old"),), webhook_secrets={"default": (OLD,)})
AFTER = replace(BEFORE, tokens=(token("old"), token("new")), webhook_secrets={"default": (OLD, NEW)})


async def test_what_was_changed_is_used_from_then_on() -> None:
    """New tokens open, old ones shut, callbacks are signed with every secret there is now; all without a new start."""
    house, read = House(), [AFTER, replace(AFTER, tokens=(token("new"),))]
    runner = await house.runner()
    runner.calls.secrets = BEFORE.webhook_secrets
    clock, keys = SystemClock(), Issuers()
    entrance = Entrance(BEFORE, clock, Certificates(keys.google, clock), Certificates(keys.iap, clock))

    async def reload() -> Settings:
        return read.pop(0)

    rotation = Rotation(reload, runner.calls, entrance, house.clock)
    with pytest.raises(UnauthenticatedError):
        await entrance.guard.identify(asking("new"))
    await rotation.look()
    assert runner.calls.secrets == {"default": (OLD, NEW)}
    assert [(await entrance.guard.identify(asking(each))).caller.name for each in ("old", "new")] == ["ops", "ops"]
    await rotation.look()
    with pytest.raises(UnauthenticatedError):
        await entrance.guard.identify(asking("old"))


@pytest.mark.parametrize("error", [UnavailableError("away"), CallerMistake("LONGCALL_TOKENS is not right")])
async def test_what_can_t_be_read_changes_nothing(error: Exception) -> None:
    """A Secret Manager that is away, or a secret that is none, leaves the runner as it is; it looks again."""
    house = House()
    runner = await house.runner()
    runner.calls.secrets = BEFORE.webhook_secrets
    clock, keys, looks = SystemClock(), Issuers(), [error]
    entrance = Entrance(BEFORE, clock, Certificates(keys.google, clock), Certificates(keys.iap, clock))

    async def reload() -> Settings:
        if looks:
            raise looks.pop()
        return AFTER

    keeping = asyncio.create_task(Rotation(reload, runner.calls, entrance, house.clock).keep())
    await settled()
    await house.clock.advance(EVERY + 1)
    assert (runner.calls.secrets, (await entrance.guard.identify(asking("old"))).caller.name) == (BEFORE.webhook_secrets, "ops")
    await house.clock.advance(EVERY)
    assert runner.calls.secrets == AFTER.webhook_secrets
    keeping.cancel()
