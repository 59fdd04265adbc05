"""Those who wait for a record to change, where other processes' writes make no sound: all who wait for one id share one reader."""

import asyncio
from collections.abc import Awaitable, Callable

from longcall.engine.ports import Stored

FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 1.0, 5.0, 1.5  # seconds

Get = Callable[[str], Awaitable[Stored | None]]


class Polls:
    """Who waits for which id. A record is read for each who comes, after each write of this process, and every 1 s, later 5 s."""

    def __init__(self, get: Get) -> None:
        self._get = get
        self._by_id: dict[str, _Poll] = {}

    def wake(self, task_id: str) -> None:
        """Say that a write to this record may have landed."""
        if poll := self._by_id.get(task_id):
            poll.woken.set()

    async def changed(self, task_id: str, after: int, patience: float) -> Stored | None:
        """`Store.changed`. A record forgotten meanwhile ends the wait, one not there yet does not."""
        until = asyncio.get_running_loop().time() + patience
        if task_id not in self._by_id:
            self._by_id[task_id] = _Poll(lambda: self._get(task_id))
        poll = self._by_id[task_id]
        poll.waiting += 1
        try:
            stored = await poll.look()
            while (stored is None or stored.task.version <= after) and await poll.read_again(until):
                before, stored = stored, poll.answer()
                if before and not stored:
                    break
            return stored
        finally:
            poll.waiting -= 1
            if not poll.waiting:
                poll.stop()
                del self._by_id[task_id]


class _Poll:
    """The one reader of a record. Its readings follow each other, so a later one is never of an older state."""

    def __init__(self, get: Callable[[], Awaitable[Stored | None]]) -> None:
        self.waiting = 0
        self.woken = asyncio.Event()
        self._get = get
        self._begun = self._ended = 0
        self._end = asyncio.Event()
        self._news: Stored | Exception | None = None
        self._reader = asyncio.create_task(self._keep_reading())

    async def look(self) -> Stored | None:
        """Read what is there now: by a reading that begins after this, shared with whoever else looks now."""
        number = self._begun + 1
        self.woken.set()
        while self._ended < number:
            await self._end.wait()
        return self.answer()

    async def read_again(self, until: float) -> bool:
        """Wait for the next reading. False when the time is up first."""
        return await _set_before(self._end, until)

    def answer(self) -> Stored | None:
        """What was read last. Raises what that raised."""
        if isinstance(self._news, Exception):
            raise self._news
        return self._news

    def stop(self) -> None:
        """Read no more."""
        self._reader.cancel()

    async def _keep_reading(self) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while True:
            woken = await _set_before(self.woken, loop.time() + pause)
            self.woken.clear()
            self._begun += 1
            try:
                self._news = await self._get()
            except Exception as error:  # noqa: BLE001 — whoever waits is told
                self._news = error
            self._ended = self._begun
            end, self._end = self._end, asyncio.Event()
            end.set()
            pause = FIRST_PAUSE if woken else min(pause * GROWTH, LONGEST_PAUSE)


async def _set_before(event: asyncio.Event, until: float) -> bool:
    try:
        async with asyncio.timeout_at(until):
            return await event.wait()
    except TimeoutError:
        return False
