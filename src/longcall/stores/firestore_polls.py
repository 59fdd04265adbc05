"""Those who wait for a record to change, where no other process's write can be heard: all who wait for one id share one reader."""

import asyncio
from collections.abc import Awaitable, Callable

from longcall.engine.ports import Stored

FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 1.0, 5.0, 1.5  # seconds

Get = Callable[[str], Awaitable[Stored | None]]


class Polls:
    """Who waits for which id. A record is read again after each write of this process, and every 1 s, later 5 s, for those of others."""

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
        poll = self._by_id.setdefault(task_id, _Poll())
        poll.waiting += 1
        try:
            turn = poll.turn
            stored = await self._get(task_id)
            while (stored is None or stored.task.version <= after) and await poll.read_after(turn, until, self._get, task_id):
                turn = poll.turn
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
    """The one reader of a record, and what it read last."""

    def __init__(self) -> None:
        self.waiting = 0
        self.turn = 0
        self.woken = asyncio.Event()
        self._read = asyncio.Event()
        self._news: Stored | Exception | None = None
        self._reader: asyncio.Task[None] | None = None

    def answer(self) -> Stored | None:
        """What was read last. Raises what that raised."""
        if isinstance(self._news, Exception):
            raise self._news
        return self._news

    async def read_after(self, turn: int, until: float, get: Get, task_id: str) -> bool:
        """Wait for a reading later than this one. False when the time is up first."""
        if asyncio.get_running_loop().time() >= until:
            return False
        if self._reader is None:
            self._reader = asyncio.create_task(self._keep_reading(get, task_id))
        return self.turn > turn or await _set_before(self._read, until)

    def stop(self) -> None:
        """Read no more."""
        if self._reader is not None:
            self._reader.cancel()

    async def _keep_reading(self, get: Get, task_id: str) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while True:
            await _set_before(self.woken, loop.time() + pause)
            self.woken.clear()
            try:
                self._news = await get(task_id)
            except Exception as error:  # noqa: BLE001 — whoever waits is told
                self._news = error
            self.turn += 1
            self._read.set()
            self._read = asyncio.Event()
            pause = min(pause * GROWTH, LONGEST_PAUSE)


async def _set_before(event: asyncio.Event, until: float) -> bool:
    try:
        async with asyncio.timeout_at(until):
            return await event.wait()
    except TimeoutError:
        return False
