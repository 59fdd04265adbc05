"""Forgetting what ended long ago: tasks in small steps, each with its bodies."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from longcall.core.errors import OurFault
from longcall.core.task import Task
from longcall.engine import observe
from longcall.engine.calls import body_keys
from longcall.engine.ports import Bodies, Clock, Store

# A small step holds up nobody's write; the pause between looks is drawn anew each time, so that many runners do not look at once.
STEP = 100
PAUSE, LONG_PAUSE = 1.0, 300.0  # seconds


@dataclass(frozen=True)
class Retention:
    """Every runner of a SQL store does it; a purge of two at once forgets each task once."""

    store: Store
    bodies: Bodies
    clock: Clock
    keep_for: timedelta

    async def keep(self) -> None:
        """Forget for ever: step after step while there is something to forget, and then now and then."""
        while True:
            more = await self.step()
            await self.clock.sleep(PAUSE if more else LONG_PAUSE * (0.5 + self.clock.chance()))

    async def step(self) -> bool:
        """Forget at most a hundred tasks that ended longer ago than is kept; True when there may be more."""
        try:
            gone = await self.store.purge(self.clock.now() - self.keep_for, STEP)
        except OurFault as error:
            observe.out_of_reach("store", error)
            return False
        for task in gone:
            await self._forget_bodies(task)
        if gone:
            observe.tasks_purged(len(gone))
        return len(gone) == STEP

    async def _forget_bodies(self, task: Task) -> None:
        """The record is gone, so nobody will ask; a body store that is away keeps them, and its own lifecycle rule has them in the end."""
        for key in body_keys(task):
            with suppress(OurFault):
                await self.bodies.delete(key)
