"""Those who wait for a record to change, woken by this process's own writes, and by what it hears of others'."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from longcall.engine.ports import Stored


class Waiters:
    """Who waits for which id. Everything happens on one event loop.

    Whoever has not been woken for `again` seconds reads all the same, for stores where a write may go unheard.
    """

    def __init__(self, again: float = math.inf) -> None:
        self._again = again
        self._by_id: dict[str, set[asyncio.Event]] = {}

    def wake(self, task_id: str) -> None:
        """Say that a write to this record may have landed."""
        for event in self._by_id.get(task_id, ()):
            event.set()

    def wake_all(self) -> None:
        """Say that any write may have landed."""
        for task_id in self._by_id:
            self.wake(task_id)

    async def changed(self, get: Callable[[str], Awaitable[Stored | None]], task_id: str, after: int, patience: float) -> Stored | None:
        """`Store.changed`, by reading again after each write. A record forgotten meanwhile ends the wait, one not there yet does not."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        event = asyncio.Event()
        self._by_id.setdefault(task_id, set()).add(event)
        try:
            stored = await get(task_id)
            while stored is None or stored.task.version <= after:
                woken = await _set_before(event, min(until, loop.time() + self._again))
                if not woken and loop.time() >= until:
                    break
                event.clear()
                before, stored = stored, await get(task_id)
                if before and not stored:
                    break
            return stored
        finally:
            self._forget(task_id, event)

    def _forget(self, task_id: str, event: asyncio.Event) -> None:
        waiting = self._by_id[task_id]
        waiting.discard(event)
        if not waiting:
            del self._by_id[task_id]


async def _set_before(event: asyncio.Event, until: float) -> bool:
    try:
        async with asyncio.timeout_at(until):
            return await event.wait()
    except TimeoutError:
        return False
