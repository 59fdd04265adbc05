"""How tasks and runners stand, for whoever looks.

Counting costs some stores a read per thousand records, so what was read is kept for a moment.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

from longcall.engine.ports import Clock, Counts, Page, Query, Runner, Store

KEPT, RECENT_KEPT = 2.0, 30.0  # seconds
RECENT, MOST_RECENT = timedelta(hours=24), 500

Value = TypeVar("Value")


@dataclass
class Kept(Generic[Value]):
    """A value that is read when it is asked for, and kept for `seconds` of it. Whoever asks meanwhile waits for the same read."""

    read: Callable[[], Awaitable[Value]]
    clock: Clock
    seconds: Callable[[Value], float]
    _value: Value | None = None
    _until: float = 0.0
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self) -> Value:
        """The value. Raises what reading raises, and then keeps nothing."""
        async with self._reading:
            if self._value is None or self.clock.monotonic() >= self._until:
                self._value = await self.read()
                self._until = self.clock.monotonic() + self.seconds(self._value)
            return self._value


@dataclass(frozen=True)
class Stats:
    """What a process tells everybody who looks. Raises UnavailableError."""

    counts: Kept[Counts]
    runners: Kept[Sequence[Runner]]
    recent: Kept[Page]

    @classmethod
    def of(cls, store: Store, clock: Clock) -> "Stats":
        """Of a store. `recent` are the newest 500 calls that changed in the last 24 hours."""

        def recent() -> Awaitable[Page]:
            return store.page(Query(updated_after=clock.now() - RECENT, limit=MOST_RECENT))

        def cost(page: Page) -> float:
            """A record is a read in some stores: a page of few is soon read again, a full one is kept for half a minute."""
            return KEPT + (RECENT_KEPT - KEPT) * len(page.tasks) / MOST_RECENT

        return cls(
            Kept(lambda: store.counts(clock.now()), clock, lambda _: KEPT),
            Kept(store.runners, clock, lambda _: KEPT),
            Kept(recent, clock, cost),
        )
