"""What stands now: the calls this runner holds, its lease, and what the store knows. Read when somebody asks, the store not too often."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from longcall.core.errors import OurFault
from longcall.core.task import Kind, State
from longcall.engine import metrics, observe
from longcall.engine.calls import Calls
from longcall.engine.lease import Lease, alive
from longcall.engine.metrics import Readings
from longcall.engine.ports import Clock, Query, Store

KEPT_FOR, LIMIT = 5.0, 3.0  # seconds: how old the store's answer may be, and how long it may take
CALLBACK_LATE, MANY = timedelta(hours=1), 100
QUANTILES = (0.5, 0.9, 0.99)


@dataclass
class Gauges:
    """Reads what stands now. What the store said is kept for five seconds, so that nobody's scraping loads it."""

    store: Store
    clock: Clock
    calls: Calls
    lease: Lease
    _known: Readings = field(default_factory=dict)
    _read_at: float | None = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self) -> Readings:
        """Everything."""
        return {**self.own(), **await self.stored()}

    def own(self) -> Readings:
        """What this process knows: on App Engine a scrape meets one instance at random, and this says nothing of the others."""
        ages = sorted(self.calls.ages())
        readings: dict[metrics.Metric, dict[tuple[str, ...], float]] = {
            metrics.RUNNING: {(): len(ages)},
            metrics.RUNNING_OLDEST: {(): ages[-1] if ages else 0.0},
            metrics.RUNNING_AGE: {(str(quantile),): _quantile(ages, quantile) for quantile in QUANTILES},
        }
        age = self.lease.age
        return readings if age is None else {**readings, metrics.LEASE_AGE: {(): age}}

    async def stored(self) -> Readings:
        """What the store knows; nothing while it is out of reach."""
        async with self._reading:
            if self._read_at is None or self.clock.monotonic() - self._read_at >= KEPT_FOR:
                self._known = await self._ask()
                self._read_at = self.clock.monotonic()
            return self._known

    async def _ask(self) -> Readings:
        now = self.clock.now()
        pending = frozenset(state for state in State if not state.ended)
        late = Query(kind=Kind.CALLBACK, states=pending, created_before=now - CALLBACK_LATE, limit=MANY)
        try:
            async with asyncio.timeout(LIMIT):
                counts, runners, callbacks = await self.store.counts(now), await self.store.runners(), await self.store.page(late)
        except (OurFault, TimeoutError) as error:
            observe.out_of_reach("store", error)
            return {}
        return {
            metrics.TASKS: {(state.value,): counts.by_state.get(state, 0) for state in State},
            metrics.OVERDUE: {(): counts.overdue},
            metrics.OLDEST: {(): (now - counts.oldest).total_seconds() if counts.oldest else 0.0},
            metrics.RUNNERS: {(): sum(map(alive, runners))},
            metrics.CALLBACKS_LATE: {(): len(callbacks.tasks)},
        }


def _quantile(ages: Sequence[float], quantile: float) -> float:
    """The value that this part of them is at or below; of none it is 0."""
    return ages[min(int(len(ages) * quantile), len(ages) - 1)] if ages else 0.0
