"""A runner's sign of life, and what it entitles the runner to. A task is owned by a runner; there are no locks."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from longcall.core.delivery import Me, Owner
from longcall.core.errors import UnavailableError
from longcall.core.messages import LookMessage
from longcall.engine import observe
from longcall.engine.ports import Clock, Queue, Runner, Store

GOOD_FOR = timedelta(seconds=30)
LOOK_AHEAD = timedelta(seconds=60)
BEAT_EVERY, BEAT_AGAIN, BEAT_LIMIT = 10.0, 1.0, 5.0
STEADY_FOR = 35.0
LAST_BEAT_LIMIT = 0.3  # a process that was told to stop may be killed after two seconds, whatever the store does


def alive(runner: Runner | None) -> bool:
    """Tell whether a runner's lease is good, by the store's clock."""
    return runner is not None and not runner.gone and runner.age < GOOD_FOR


def owner_is(runner: Runner | None) -> Owner:
    """What a runner's record says of it as an owner."""
    if alive(runner):
        return Owner.ALIVE
    return Owner.ENDED if runner is not None and runner.gone else Owner.SILENT


def look_name(look: LookMessage) -> str:
    """The name of a look's message."""
    return f"runner-{look.runner}-{look.k}-{look.n}"


@dataclass
class Lease:
    """The lease of this process. It judges itself by the monotonic clock, from the start of its last good beat."""

    store: Store
    queue: Queue
    clock: Clock
    name: str
    control_queue: str
    calls: Callable[[], int] = lambda: 0
    drained: bool = False
    _started: datetime | None = None
    _last_good: float | None = None
    _steady_since: float | None = None
    _lapses: int = 0
    _looked: bool = False
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def good(self) -> bool:
        """This runner may take tasks."""
        return self._last_good is not None and self.clock.monotonic() - self._last_good < GOOD_FOR.total_seconds()

    @property
    def age(self) -> float | None:
        """Seconds since the start of the last good beat; None before the first."""
        return None if self._last_good is None else self.clock.monotonic() - self._last_good

    @property
    def may_declare_lost(self) -> bool:
        """All beats of the last 35 s have succeeded: a store that was away for a minute makes nobody lose anything."""
        return self.good and self._steady_since is not None and self.clock.monotonic() - self._steady_since >= STEADY_FOR

    async def keep(self) -> None:
        """Beat for ever: every 10 s, after a failure every second."""
        while True:
            await self.clock.sleep(BEAT_EVERY if await self.beat() else BEAT_AGAIN)

    async def beat(self, *, gone: bool = False, limit: float = BEAT_LIMIT) -> bool:
        """Write one sign of life; False when it did not succeed within `limit` seconds."""
        start = self.clock.monotonic()
        now = self.clock.now()
        self._started = self._started or now
        runner = Runner(self.name, start_time=self._started, beat_time=now, calls=self.calls(), drained=self.drained, gone=gone)
        try:
            async with asyncio.timeout(limit):
                await self.store.beat(runner)
        except (UnavailableError, TimeoutError) as error:
            observe.beat_failed(self.name, error)
            self._steady_since = None
            return False
        self._succeeded(start)
        return True

    def _succeeded(self, start: float) -> None:
        if self._last_good is not None and not self.good:
            self._lapsed()
        if self._steady_since is None:
            self._steady_since = start
        self._last_good = start

    def _lapsed(self) -> None:
        self._lapses += 1
        self._looked = False

    async def announce(self) -> None:
        """Have a look at this runner queued before its first task, and again after a lapse. Raises UnavailableError."""
        if self._looked and self.good:
            return
        async with self._looking:
            if self._looked and not self.good:
                self._lapsed()
            if not self._looked:
                lapses = self._lapses
                await self.queue_look(LookMessage(self.name, lapses, 0))
                self._looked = lapses == self._lapses

    def me(self, *, holds: bool = False) -> Me:
        """What a delivery is judged by."""
        return Me(self.name, holds, self.good, self.may_declare_lost)

    async def end(self, *, left: bool) -> None:
        """End the lease, after this runner's last write; with calls left unsettled, have it looked at now and not in a minute."""
        if await self.beat(gone=True, limit=LAST_BEAT_LIMIT) and left:
            look = LookMessage(self.name, self._lapses + 1, 0)
            await self.queue.create(self.control_queue, look_name(look), look, self.clock.now())

    async def queue_look(self, look: LookMessage) -> None:
        """Put a look on the control queue, 60 s ahead."""
        await self.queue.create(self.control_queue, look_name(look), look, self.clock.now() + LOOK_AHEAD)
