"""Those who wait for a record to change: woken by writes they hear of, and by looking where others write unheard."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from longcall.core.errors import LongcallError
from longcall.engine.ports import Stored

LOOK_PERIOD = 1.0  # seconds
Get = Callable[[str], Awaitable[Stored | None]]
Versions = Callable[[Sequence[str]], Awaitable[Mapping[str, int]]]


@dataclass(slots=True)
class _Line:
    """Those who wait for one id; the reading that they share, and the version that was read last."""

    events: set[asyncio.Event] = field(default_factory=set)
    reading: "asyncio.Future[Stored | None] | None" = None
    version: int | None = None


class Waiters:
    """Who waits for which id. Everything happens on one event loop.

    With `versions`, which gives the versions of those of many ids that have a record, other processes' writes are seen too: one
    question a `period` (seconds) for all ids, and only while somebody waits. Whoever has not been woken for `again` seconds reads all
    the same, for stores where a write may go unheard.
    """

    def __init__(self, versions: Versions | None = None, period: float = LOOK_PERIOD, again: float = math.inf) -> None:
        self._lines: dict[str, _Line] = {}
        self._versions = versions
        self._period = period
        self._again = again
        self._looking: asyncio.Task[None] | None = None

    def wake(self, task_id: str) -> None:
        """Say that a write to this record may have landed."""
        if line := self._lines.get(task_id):
            line.reading = None  # it may have begun before that write
            for event in line.events:
                event.set()

    def wake_all(self) -> None:
        """Say that any write may have landed."""
        for task_id in self._lines:
            self.wake(task_id)

    async def changed(self, get: Get, task_id: str, after: int, patience: float) -> Stored | None:
        """`Store.changed`, by reading again after each write. A record forgotten meanwhile ends the wait, one not there yet does not."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        event = asyncio.Event()
        line = self._enter(task_id, event)
        try:
            stored = _noted(line, await get(task_id))
            while stored is None or stored.task.version <= after:
                woken = await _set_before(event, min(until, loop.time() + self._again))
                if not woken and loop.time() >= until:
                    break
                event.clear()
                before, stored = stored, _noted(line, await _shared(line, get, task_id))
                if before and not stored:
                    break
            return stored
        finally:
            self._leave(task_id, event)

    def _enter(self, task_id: str, event: asyncio.Event) -> _Line:
        line = self._lines.setdefault(task_id, _Line())
        line.events.add(event)
        if self._versions is not None and self._looking is None:
            self._looking = asyncio.create_task(self._look(self._versions))
        return line

    def _leave(self, task_id: str, event: asyncio.Event) -> None:
        events = self._lines[task_id].events
        events.discard(event)
        if not events:
            del self._lines[task_id]
        if not self._lines and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self, versions: Versions) -> None:
        while True:
            await asyncio.sleep(self._period)
            asked = list(self._lines)
            try:
                found = await versions(asked)
            except LongcallError:
                continue  # whoever wants to know that the store is away asks it himself
            for task_id in asked:
                if (line := self._lines.get(task_id)) and line.version != found.get(task_id):
                    self.wake(task_id)


def _noted(line: _Line, stored: Stored | None) -> Stored | None:
    line.version = stored.task.version if stored else None
    return stored


async def _shared(line: _Line, get: Get, task_id: str) -> Stored | None:
    """One reading for all who were woken by the same write; it goes on when one of them stops waiting."""
    if line.reading is None or line.reading.done():
        line.reading = asyncio.ensure_future(get(task_id))
    return await asyncio.shield(line.reading)


async def _set_before(event: asyncio.Event, until: float) -> bool:
    try:
        async with asyncio.timeout_at(until):
            return await event.wait()
    except TimeoutError:
        return False
