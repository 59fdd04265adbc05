"""Tokens for targets: kept for each audience until five minutes before their end, and minted once for all who wait."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from longcall.core.audience import IdTokenWanted, Wanted
from longcall.outbound.minted import Minted, NoTokenError, Source

ENOUGH = timedelta(minutes=5)  # what a token has left at every attempt, where its issuer gives that
LEAST = timedelta(minutes=1)  # with less than this it would not arrive
MINT_LIMIT = 10.0  # seconds
KEPT = 1000


@dataclass(eq=False)
class Tokens:
    """Mints and keeps tokens. `implied`: whether targets that are known to want Google's tokens get one unasked."""

    source: Source
    now: Callable[[], datetime]
    implied: bool = True
    mint_limit: float = MINT_LIMIT
    _kept: OrderedDict[Wanted, Minted] = field(default_factory=OrderedDict, repr=False)
    _minting: dict[Wanted, asyncio.Task[Minted]] = field(default_factory=dict, repr=False)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, source: Source, now: Callable[[], datetime], *, implied: bool = True, mint_limit: float = MINT_LIMIT
    ) -> AsyncIterator["Tokens"]:
        """Make it; what is being minted is given up when it closes."""
        tokens = cls(source, now, implied, mint_limit)
        try:
            yield tokens
        finally:
            await tokens.close()

    async def bearer(self, wanted: Wanted, *, rejected: str | None = None) -> str:
        """A token with at least five minutes left; never the one kept that a target has just rejected. Raises NoTokenError."""
        kept = self._kept.get(wanted)
        if kept is not None and kept.token != rejected and self._left(kept) >= ENOUGH:
            self._kept.move_to_end(wanted)
            return kept.token
        minting = self._minting.get(wanted)
        if minting is None:
            minting = self._minting[wanted] = asyncio.create_task(self._mint(wanted))
            minting.add_done_callback(lambda done: self._minted(wanted, done))
        await asyncio.wait([minting])  # whoever gives up waiting takes nothing from the others
        if minting.cancelled():
            raise NoTokenError("the runner is stopping, so no more tokens are minted")
        return minting.result().token

    async def close(self) -> None:
        """Give up what is being minted."""
        minting = list(self._minting.values())
        for each in minting:
            each.cancel()
        await asyncio.gather(*minting, return_exceptions=True)

    async def _mint(self, wanted: Wanted) -> Minted:
        try:
            async with asyncio.timeout(self.mint_limit):
                minted = await self.source.mint(wanted)
                if self._left(minted) < ENOUGH:
                    minted = await self.source.mint(wanted)
        except NoTokenError:
            raise
        except TimeoutError:
            raise NoTokenError(f"no token for {_for(wanted)} came within {self.mint_limit:g} s") from None
        except Exception as error:  # noqa: BLE001 — the call must end with a word; the error's own words may hold a token
            raise NoTokenError(f"minting a token for {_for(wanted)} failed with {type(error).__name__}") from None
        if self._left(minted) < LEAST:
            raise NoTokenError(
                f"the token that was minted for {_for(wanted)} has less than a minute left", "this machine's clock may be wrong"
            )
        return minted

    def _minted(self, wanted: Wanted, done: asyncio.Task[Minted]) -> None:
        del self._minting[wanted]
        if done.cancelled() or done.exception() is not None:
            return
        self._kept[wanted] = done.result()
        self._kept.move_to_end(wanted)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def _left(self, minted: Minted) -> timedelta:
        return minted.expires - self.now()


def _for(wanted: Wanted) -> str:
    return wanted.audience if isinstance(wanted, IdTokenWanted) else " ".join(wanted.scopes)
