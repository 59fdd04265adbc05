"""Deciding, owing and writing: how an attempt's outcome becomes the record's next version."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from longcall.core import lifecycle
from longcall.core.attempt import Outcome, Responded, drained, lost
from longcall.core.errors import OurFault
from longcall.core.task import State, Task
from longcall.engine import observe
from longcall.engine.owing import Owing
from longcall.engine.ports import Bodies, Clock, Store, Stored

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
SIDE_BY_SIDE = 32  # so that a store can group what a dead runner left


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt of one owner. It goes by owner and attempt, not by version: a cancel request may move the version in between."""

    task_id: str
    owner: str
    attempt: int

    @classmethod
    def on(cls, task: Task) -> "Claim":
        """The claim that a RUNNING record states."""
        return cls(task.id, task.owner or "", task.attempt_count)

    def holds(self, task: Task) -> bool:
        """The outcome is still this owner's to write."""
        return task.state is State.RUNNING and task.owner == self.owner and task.attempt_count == self.attempt

    def landed(self, task: Task, outcome: Outcome) -> bool:
        """The record has this very outcome, written before though its writer was not told."""
        return any(
            entry.number == self.attempt
            and entry.runner == self.owner
            and entry.end_time == outcome.end_time
            and entry.outcome == outcome.name
            for entry in task.attempts
        )


def pauses() -> Iterator[float]:
    """Seconds between tries while something is out of reach: doubling from 0.1 to 5."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


@dataclass(frozen=True)
class Settler:
    """Writes the ends of attempts. Queue first: what a version needs is queued before that version is written."""

    store: Store
    owing: Owing
    clock: Clock
    bodies: Bodies

    async def settle(self, claim: Claim, outcome: Outcome, known: Stored | None = None) -> Task | None:
        """Write an outcome, waiting for a store or queue that is away; None when the attempt was no longer the claim's.

        `known` is the record as its take wrote it. It is read only where another write came in between, or where one was unclear.
        """
        for pause in pauses():
            try:
                return await self._settle(claim, outcome, known)
            except OurFault as error:
                known = None
                observe.out_of_reach("store or queue", error)
                await self.clock.sleep(pause)
        raise AssertionError("pauses never end")

    async def lose(self, task: Task) -> None:
        """Settle a RUNNING record whose owner is gone: as drained if it had been told to stop, else as lost. Raises UnavailableError."""
        owner = await self.store.runner(task.owner or "")
        now = self.clock.now()
        await self._settle(Claim.on(task), drained(now) if owner is not None and owner.drained else lost(now, task.owner or ""))

    async def lose_all(self, task_ids: Sequence[str], owner: str = "") -> int:
        """Settle as lost those that still run under this owner, or any for an empty name; how many. Raises UnavailableError."""
        left, lost = iter(task_ids), 0

        async def some() -> None:
            nonlocal lost
            for task_id in left:
                stored = await self.store.get(task_id)
                if stored is not None and stored.task.state is State.RUNNING and owner in {"", stored.task.owner}:
                    await self.lose(stored.task)
                    lost += 1

        ends = await asyncio.gather(*(some() for _ in range(min(SIDE_BY_SIDE, len(task_ids)))), return_exceptions=True)
        if trouble := next((end for end in ends if end is not None), None):
            raise trouble
        return lost

    async def expire(self, stored: Stored) -> None:
        """End a task whose time is over before its next attempt, unless another version got in between. Raises UnavailableError."""
        expired = lifecycle.expire(stored.task, self.clock.now())
        await self.owing.queue_for(expired)
        if await self.store.replace(expired, stored.tag):
            observe.task_finished(expired)

    async def _forget_body(self, before: Task, after: Task) -> None:
        """Only the last response is kept; a body store that is away keeps one more."""
        old, new = (each.response.location if each.response else None for each in (before, after))
        if old is not None and old != new:
            with suppress(OurFault):
                await self.bodies.delete(old)

    async def _forget_late(self, outcome: Outcome, standing: Stored | None) -> None:
        """Nobody will read a body that came too late: its key is its attempt's own, and another version settled that attempt."""
        late = outcome.response.location if isinstance(outcome, Responded) else None
        kept = standing.task.response.location if standing is not None and standing.task.response is not None else None
        if late is not None and late != kept:
            with suppress(OurFault):
                await self.bodies.delete(late)

    async def _settle(self, claim: Claim, outcome: Outcome, known: Stored | None = None) -> Task | None:
        stored = known or await self.store.get(claim.task_id)
        while stored is not None:
            if claim.landed(stored.task, outcome):
                if stored.task.attempt_count == claim.attempt:  # else it has moved on, and what it says now is another's
                    observe.attempt_settled(stored.task, outcome)
                return stored.task
            if not claim.holds(stored.task):
                break
            settled = lifecycle.settle(stored.task, outcome, self.clock.now(), self.clock.chance())
            await self.owing.queue_for(settled)
            if await self.store.replace(settled, stored.tag):
                observe.attempt_settled(settled, outcome)
                await self._forget_body(stored.task, settled)
                return settled
            stored = await self.store.get(claim.task_id)
        observe.outcome_late(claim.task_id, claim.attempt, outcome)
        await self._forget_late(outcome, stored)
        return None
