"""Those who wait for a record to change, woken by this process's own writes."""

import asyncio
from collections.abc import Awaitable, Callable

from longcall.engine.ports import Stored


class Waiters:
    """Who waits for which id. Everything happens on one event loop."""

    def __init__(self) -> None:
        self._by_id: dict[str, set[asyncio.Event]] = {}

    def wake(self, task_id: str) -> None:
        """Say that a write to this record may have landed."""
        for event in self._by_id.get(task_id, ()):
            event.set()

    async def changed(self, get: Callable[[str], Awaitable[Stored | None]], task_id: str, after: int, patience: float) -> Stored | None:
        """`Store.changed`, by reading again after each write. A record forgotten meanwhile ends the wait, one not there yet does not."""
        until = asyncio.get_running_loop().time() + patience
        event = asyncio.Event()
        self._by_id.setdefault(task_id, set()).add(event)
        try:
            stored = await get(task_id)
            while (stored is None or stored.task.version <= after) and await _set_before(event, until):
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
