"""Finding out that the cancel of a call held here was asked for, wherever it was asked."""

from dataclasses import dataclass

from longcall.core.errors import OurFault
from longcall.engine import observe
from longcall.engine.calls import Calls
from longcall.engine.ports import Clock, Store

LOOK_EVERY = 1.0  # seconds


@dataclass(frozen=True)
class CancelWatch:
    """One query a second and runner, while it holds any call."""

    store: Store
    clock: Clock
    calls: Calls
    runner: str

    async def keep(self) -> None:
        """Look for ever."""
        while True:
            await self.clock.sleep(LOOK_EVERY)
            if len(self.calls):
                await self.look()

    async def look(self) -> None:
        """Close the calls whose cancel was asked for."""
        try:
            self.calls.cancel(await self.store.cancelled(self.runner))
        except OurFault as error:
            observe.out_of_reach("store", error)
