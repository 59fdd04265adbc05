"""Time, chance and ids: the only module that makes them."""

import asyncio
import random
import secrets
import time
import uuid
from datetime import UTC, datetime

# The one that goes on while the machine is suspended, where there is one: a lease runs out meanwhile, too.
_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clock and chance."""

    def now(self) -> datetime:
        """Wall clock, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.clock_gettime(_MONOTONIC)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def chance(self) -> float:
        """0 up to 1, uniform: for jitter, not for secrets."""
        return random.random()  # noqa: S311 — jitter

    def new_id(self) -> str:
        """A UUIDv4."""
        return str(uuid.uuid4())

    def new_ordered_id(self) -> str:
        """Digits that grow with time, the last four by chance: an index of them grows at its end, and its pages stay few."""
        return f"{time.time_ns()}{random.randrange(10_000):04}"  # noqa: S311 — unique, not secret

    def new_hex(self, digits: int) -> str:
        """So many random hex digits, fit for secrets."""
        return secrets.token_hex((digits + 1) // 2)[:digits]
